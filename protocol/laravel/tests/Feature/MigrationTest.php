<?php

namespace Wafleet\Laravel\Tests\Feature;

use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;
use Wafleet\Laravel\Tests\Services;
use Wafleet\Laravel\Tests\TestCase;

final class MigrationTest extends TestCase
{
    private const FIRST = '2026_01_01_000001_create_whatsapp_sessions_table';

    public function test_the_shared_table_is_the_same_whoever_creates_it(): void
    {
        $server = Services::server();
        $name = config('database.connections.mysql.database').'_fleet';
        $server->exec("CREATE DATABASE {$name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
        try {
            $server->exec("USE {$name}");
            foreach (['workspaces', 'users'] as $parent) {
                $server->exec("CREATE TABLE {$parent} (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB");
            }
            $statements = $server->query(file_get_contents(dirname(__DIR__, 4).'/migrations/0001_host_sessions.up.sql'));
            while ($statements->nextRowset()) {
                // An error in any of the statements is thrown here.
            }
            unset($statements);
            $theirs = $this->ddl($server->query('SHOW CREATE TABLE whatsapp_sessions')->fetch()[1]);
        } finally {
            $server->exec("DROP DATABASE {$name}");
        }
        $ours = $this->ddl(((array) DB::selectOne('SHOW CREATE TABLE whatsapp_sessions'))['Create Table']);
        $this->assertSame($theirs, $ours);
    }

    public function test_the_fleets_migration_finds_nothing_to_do_after_ours(): void
    {
        $before = ((array) DB::selectOne('SHOW CREATE TABLE whatsapp_sessions'))['Create Table'];
        DB::connection()->getPdo()->setAttribute(\PDO::ATTR_EMULATE_PREPARES, true);
        $statements = DB::connection()->getPdo()->query(file_get_contents(dirname(__DIR__, 4).'/migrations/0001_host_sessions.up.sql'));
        while ($statements->nextRowset()) {
        }
        unset($statements);
        $this->assertSame($before, ((array) DB::selectOne('SHOW CREATE TABLE whatsapp_sessions'))['Create Table']);
    }

    public function test_tables_that_are_there_stay_and_sqlite_is_fine_for_test_suites(): void
    {
        $this->migration(self::FIRST)->up();
        config(['whatsapp.connection' => 'sqlite']);
        foreach ([self::FIRST, '2026_01_01_000002_create_whatsapp_event_tables'] as $file) {
            $this->migration($file)->up();
            $this->migration($file)->up();
        }
        $schema = Schema::connection('sqlite');
        foreach (config('whatsapp.tables') as $table) {
            $this->assertTrue($schema->hasTable($table), $table);
            $this->assertEqualsCanonicalizing(Schema::connection('mysql')->getColumnListing($table), $schema->getColumnListing($table));
        }
        $this->migration('2026_01_01_000002_create_whatsapp_event_tables')->down();
        $this->assertFalse($schema->hasTable('whatsapp_inbox'));
    }

    public function test_everything_is_published_where_applications_keep_it(): void
    {
        $paths = \Illuminate\Support\ServiceProvider::pathsToPublish(\Wafleet\Laravel\WhatsAppServiceProvider::class);
        $this->assertEqualsCanonicalizing([config_path('whatsapp.php'), database_path('migrations'), resource_path('js/vendor/whatsapp')], array_values($paths));
        foreach (array_keys($paths) as $source) {
            $this->assertFileExists($source);
        }
    }

    private function migration(string $file)
    {
        return require dirname(__DIR__, 2)."/database/migrations/{$file}.php";
    }

    /** Without what differs by right: counters and the mark of who created it. */
    private function ddl(string $create): array
    {
        $lines = array_map(fn ($line) => trim($line, ' ,'), explode("\n", preg_replace('/ (AUTO_INCREMENT=\d+|COMMENT=\'[^\']*\')/', '', $create)));
        sort($lines);

        return $lines;
    }
}
