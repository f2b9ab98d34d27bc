<?php

namespace Wafleet\Laravel\Tests\Feature;

use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\Facades\DB;
use RuntimeException;
use Wafleet\Laravel\Host\HostMigration;
use Wafleet\Laravel\Host\Naming;
use Wafleet\Laravel\Models\WhatsAppSession;
use Wafleet\Laravel\Tests\Services;
use Wafleet\Laravel\Tests\TestCase;

/** Schemas as applications have them, in both namings, with Meta numbers in use. */
final class HostTest extends TestCase
{
    private const CHATS = 3000;

    private const KEY = 'base64:z1+SrsWPjdihCZ4h0bpVW7gOvBvO6TbWy7gvgTV/SfY=';

    private string $name;

    protected function setUp(): void
    {
        parent::setUp();
        $this->withoutMockingConsoleOutput();
        $this->name = config('database.connections.mysql.database').'_host';
        Services::server()->exec("CREATE DATABASE {$this->name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
        config(['database.connections.host' => ['database' => $this->name] + config('database.connections.mysql'), 'whatsapp.connection' => 'host', 'whatsapp.encryption_key' => self::KEY]);
    }

    protected function tearDown(): void
    {
        DB::purge('host');
        Services::server()->exec("DROP DATABASE {$this->name}");
        parent::tearDown();
    }

    public function test_a_schema_of_either_naming_gets_what_it_lacks_and_everything_can_be_taken_back(): void
    {
        foreach (['sessions', 'accounts'] as $naming) {
            $this->schema($naming);
            $before = $this->everything();
            $plan = $this->host('plan');
            $this->assertSame($before, $this->everything(), 'a plan changes nothing');
            foreach (['2 workspaces with Meta credentials', '2000 chats are given to the Meta number', 'becomes VARCHAR(32)', 'deleting a user keeps the number'] as $part) {
                $this->assertStringContainsString($part, $plan);
            }
            $applied = $this->host('apply', ['--batch' => 500]);
            $this->assertStringContainsString('3000 of 3000', $applied);
            $this->assertStringContainsString('There is nothing to do.', $this->host('plan'));

            ['table' => $table, 'column' => $column] = (array) Naming::of($naming);
            $db = DB::connection('host');
            // Existing users go on: not a word of the metadata has changed.
            $this->assertSame('token-1', json_decode($db->table('workspaces')->find(1)->metadata, true)['whatsapp']['access_token']);
            $number = $db->table($table)->where(['workspace_id' => 1, 'provider_type' => 'meta'])->sole();
            $this->assertSame([1000, 0], [$db->table('chats')->where($column, $number->id)->where('workspace_id', 1)->count(), $db->table('chats')->where($column, $number->id)->where('workspace_id', '!=', 1)->count()]);
            $this->assertSame(1000, $db->table('chats')->whereNull($column)->count(), 'who has no Meta number gets none');
            config(['whatsapp.tables.sessions' => $table]);
            $this->assertSame('token-1', WhatsAppSession::find($number->id)->credentials()['access_token']);
            $this->assertStringNotContainsString('token-1', $number->session_data);
            foreach (['initializing', 'qr_required', 'logged_out'] as $status) {
                $db->table($table)->where('id', $number->id)->update(['status' => $status]);
            }
            $db->table($table)->where('id', $number->id)->update(['status' => 'connected']);
            $foreign = fn (string $of) => $db->selectOne("SELECT DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = ? AND REFERENCED_TABLE_NAME = ?", [$of, $table])?->DELETE_RULE;
            $this->assertSame(['SET NULL', 'SET NULL'], [$foreign('chats'), $foreign('campaign_logs')]);

            // The fleet's own migration and its statements find what they need.
            $server = Services::server();
            $server->exec("USE {$this->name}");
            $statements = $server->query(file_get_contents(dirname(__DIR__, 4).'/migrations/0001_host_sessions.up.sql'));
            while ($statements->nextRowset()) {
            }
            unset($statements);
            $db->insert("INSERT INTO whatsapp_sessions (uuid, workspace_id, session_id, status, created_at, updated_at) VALUES (UUID(), 1, 'by-the-fleet', 'initializing', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))");
            $this->assertSame(1, $db->update("UPDATE whatsapp_sessions SET status = 'connected', health_score = 90, qr_code = NULL, last_connected_at = UTC_TIMESTAMP(3) WHERE session_id = 'by-the-fleet'"));
            $this->assertSame('connected', $db->table($table)->where('session_id', 'by-the-fleet')->value('status'));
            $db->table($table)->where('session_id', 'by-the-fleet')->delete();

            $this->host('apply', ['--remove-plaintext' => true]);
            $metadata = json_decode($db->table('workspaces')->find(1)->metadata, true);
            $this->assertSame([['phone_number_id' => '42', 'display_phone_number' => '+49 151 12345671'], 'dark'], [$metadata['whatsapp'], $metadata['theme']]);
            $this->assertSame('token-1', WhatsAppSession::find($number->id)->credentials()['access_token']);

            $this->host('rollback');
            $this->assertEquals($before, $this->everything());
            Services::server()->exec("DROP DATABASE {$this->name}; CREATE DATABASE {$this->name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
            DB::purge('host');
        }
    }

    public function test_it_goes_on_where_it_was_ended(): void
    {
        $this->schema('sessions');
        $migration = $this->app->make(HostMigration::class);
        $naming = Naming::of('sessions');
        $ends = 0;
        foreach ([['workspaces', 1], ['chats', 500], ['chats', 2500]] as [$_, $at]) {
            try {
                $migration->apply($naming, 500, false, false, function ($step, $what, $done, $total) use ($at) {
                    if (in_array($step, ['meta.numbers', 'chats.meta'], true) && $done === $at && $total > 1) {
                        throw new RuntimeException('ended');
                    }
                });
            } catch (RuntimeException $error) {
                $this->assertSame('ended', $error->getMessage());
                $ends++;
            }
        }
        $this->assertSame(3, $ends);
        $this->assertStringContainsString('running', $this->host('status'));
        $this->host('apply', ['--batch' => 500]);
        $db = DB::connection('host');
        $this->assertSame([2000, 2], [$db->table('chats')->whereNotNull('whatsapp_session_id')->count(), $db->table('whatsapp_sessions')->where('provider_type', 'meta')->count()]);
        $this->assertStringNotContainsString('running', $this->host('status'));
    }

    public function test_a_secret_that_changed_since_is_sealed_anew_before_it_goes(): void
    {
        $this->schema('sessions');
        $this->host('apply');
        DB::connection('host')->update("UPDATE workspaces SET metadata = JSON_SET(metadata, '$.whatsapp.access_token', 'newer') WHERE id = 1");
        config(['whatsapp.encryption_key' => 'base64:'.base64_encode(str_repeat('n', 32)), 'whatsapp.encryption_previous_keys' => self::KEY]);
        $this->host('apply', ['--remove-plaintext' => true]);
        $this->assertSame(['newer', 'token-2'], WhatsAppSession::where('provider_type', 'meta')->orderBy('workspace_id')->get()->map(fn ($row) => $row->credentials()['access_token'])->all());
        $this->host('rollback');
        $this->assertSame('newer', json_decode(DB::connection('host')->table('workspaces')->find(1)->metadata, true)['whatsapp']['access_token']);
    }

    public function test_what_stands_in_the_way_is_named_and_what_was_done_stays(): void
    {
        $this->schema('sessions');
        DB::connection('host')->update("UPDATE chats SET wam_id = 'twice' WHERE id IN (1, 4)");
        $output = $this->host('apply', [], 1);
        $this->assertStringContainsString('the first of them with id 1', $output);
        DB::connection('host')->table('chats')->where('id', 4)->delete();
        $this->host('apply');

        Services::server()->exec("DROP DATABASE {$this->name}; CREATE DATABASE {$this->name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
        DB::purge('host');
        $this->assertStringContainsString('there is no table whatsapp_sessions: run php artisan migrate first', $this->host('plan', [], 1));
        $this->schema('accounts');
        DB::connection('host')->statement('CREATE TABLE whatsapp_sessions (id INT)');
        $this->assertStringContainsString('move its rows into one of them', $this->host('apply', [], 1));
        config(['whatsapp.encryption_key' => null]);
        $this->assertStringContainsString('set WHATSAPP_ENCRYPTION_KEY', $this->host('apply', [], 1));
        $this->assertStringContainsString('the naming is sessions or accounts', $this->host('plan', ['--naming' => 'numbers'], 1));
    }

    private function host(string $action, array $options = [], int $code = 0): string
    {
        $ended = Artisan::call('whatsapp:host', ['action' => $action] + $options);
        $output = Artisan::output();
        $this->assertSame($code, $ended, $output);

        return $output;
    }

    /** Three workspaces, two of them with a Meta number, a thousand chats each. */
    private function schema(string $naming): void
    {
        ['table' => $table, 'column' => $column] = (array) Naming::of($naming);
        $db = DB::connection('host');
        $small = $naming === 'sessions'; // chats and campaigns know nothing of numbers yet
        foreach ([
            'CREATE TABLE users (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY)',
            "CREATE TABLE workspaces (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid CHAR(50) NOT NULL UNIQUE, name VARCHAR(128) NOT NULL, metadata LONGTEXT NULL, created_by BIGINT UNSIGNED NOT NULL)",
            'CREATE TABLE contacts (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, workspace_id INT NOT NULL)',
            "CREATE TABLE {$table} (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL, workspace_id BIGINT UNSIGNED NOT NULL, session_id VARCHAR(255) NOT NULL, phone_number VARCHAR(50) NULL,
                provider_type ENUM('meta','webjs') NOT NULL DEFAULT 'webjs', status ENUM('qr_scanning','authenticated','connected','disconnected','failed') NOT NULL DEFAULT 'qr_scanning', qr_code TEXT NULL,
                session_data LONGTEXT NULL, is_primary TINYINT(1) NOT NULL DEFAULT 0, is_active TINYINT(1) NOT NULL DEFAULT 1, last_activity_at TIMESTAMP NULL, last_connected_at TIMESTAMP NULL, metadata JSON NULL,
                created_by BIGINT UNSIGNED NOT NULL, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, deleted_at TIMESTAMP NULL,
                UNIQUE KEY {$table}_uuid_unique (uuid), UNIQUE KEY {$table}_session_id_unique (session_id),
                CONSTRAINT {$table}_workspace_id_foreign FOREIGN KEY (workspace_id) REFERENCES workspaces (id) ON DELETE CASCADE,
                CONSTRAINT {$table}_created_by_foreign FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE CASCADE)",
            'CREATE TABLE chats (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid CHAR(50) NULL, workspace_id INT NOT NULL, '.($small ? '' : "{$column} BIGINT UNSIGNED NULL, provider_type VARCHAR(20) NULL, ")
                .'wam_id VARCHAR(128) NULL, contact_id INT NOT NULL, metadata TEXT NOT NULL, created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP'
                .($small ? '' : ", KEY chats_whatsapp_session_id_created_at_index ({$column}, created_at), CONSTRAINT chats_whatsapp_session_id_foreign FOREIGN KEY ({$column}) REFERENCES {$table} (id) ON DELETE SET NULL").')',
            "CREATE TABLE campaign_logs (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, campaign_id INT NOT NULL, contact_id INT NOT NULL, status ENUM('pending','success','failed','ongoing') NOT NULL)",
        ] as $statement) {
            $db->statement("{$statement} ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci");
        }
        $db->table('users')->insert(['id' => 1]);
        foreach ([1, 2, 3] as $id) {
            $meta = $id < 3 ? ['whatsapp' => ['access_token' => "token-{$id}", 'app_secret' => 'shh', 'phone_number_id' => '42', 'display_phone_number' => "+49 151 1234567{$id}"]] : ['whatsapp' => ['access_token' => null]];
            $db->table('workspaces')->insert(['id' => $id, 'uuid' => "w{$id}", 'name' => "workspace {$id}", 'metadata' => json_encode($meta + ['theme' => 'dark']), 'created_by' => 1]);
        }
        if ($naming === 'accounts') {
            $db->statement("INSERT INTO {$table} (uuid, workspace_id, session_id, created_by) VALUES (UUID(), 3, 'webjs_3_1', 1)");
        }
        $db->statement('INSERT INTO chats (workspace_id, wam_id, contact_id, metadata) SELECT 1 + seq % 3, CONCAT("wam-", seq), 1, "{}" FROM seq_1_to_'.self::CHATS);
        $db->statement('INSERT INTO campaign_logs (campaign_id, contact_id, status) SELECT 1, seq, "success" FROM seq_1_to_100');
    }

    /** Every table with its rows; metadata by meaning, for the server may write it in another order. */
    private function everything(): array
    {
        $db = DB::connection('host');
        $all = [];
        foreach ($db->select("SELECT TABLE_NAME AS name, TABLE_TYPE AS type FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME") as $table) {
            $rows = array_map(function ($row) {
                $row = (array) $row;
                if (isset($row['metadata'])) {
                    $row['metadata'] = json_decode($row['metadata'], true);
                    is_array($row['metadata']['whatsapp'] ?? null) && ksort($row['metadata']['whatsapp']);
                }

                return $row;
            }, $db->select("SELECT * FROM `{$table->name}`"));
            $all[$table->name] = [preg_replace('/ AUTO_INCREMENT=\d+/', '', array_values((array) $db->selectOne("SHOW CREATE TABLE `{$table->name}`"))[1]), $rows];
        }

        return $all;
    }
}
