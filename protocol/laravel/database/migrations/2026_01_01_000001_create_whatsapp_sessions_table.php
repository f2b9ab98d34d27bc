<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

/**
 * The table that the fleet and this application share, as `wafleet migrate` makes it. Whoever comes first creates it, and
 * test suites that migrate a fresh database have it too.
 */
return new class extends Migration
{
    public function up()
    {
        $name = config('whatsapp.tables.sessions');
        $schema = Schema::connection($this->getConnection());
        if ($schema->hasTable($name)) {
            return;
        }
        $mysql = $schema->getConnection()->getDriverName() !== 'sqlite';
        $schema->create($name, function (Blueprint $table) use ($mysql, $name) {
            if ($mysql) {
                [$table->engine, $table->charset, $table->collation] = ['InnoDB', 'utf8mb4', 'utf8mb4_unicode_ci'];
            }
            $table->bigIncrements('id');
            $table->uuid('uuid');
            $table->unsignedBigInteger('workspace_id');
            $session = $table->string('session_id');
            if ($mysql) {
                $session->charset('utf8mb4')->collation('utf8mb4_bin'); // session ids differ by case
            }
            $table->string('phone_number', 50)->nullable();
            $table->string('provider_type', 32)->default('webjs');
            $table->string('status', 32)->default('initializing');
            $table->dateTime('status_since', 3)->nullable();
            $table->string('status_cause', 64)->nullable();
            $table->text('qr_code')->nullable();
            $table->dateTime('qr_expires_at', 3)->nullable();
            $table->longText('session_data')->nullable();
            $table->boolean('is_primary')->default(false);
            $table->boolean('is_active')->default(true);
            $table->dateTime('last_activity_at', 3)->nullable();
            $table->dateTime('last_connected_at', 3)->nullable();
            $table->unsignedTinyInteger('health_score')->nullable();
            $table->json('metadata')->nullable();
            $table->unsignedBigInteger('created_by')->nullable();
            $table->dateTime('created_at', 3)->nullable();
            $table->dateTime('updated_at', 3)->nullable();
            $table->dateTime('deleted_at', 3)->nullable();
            $table->unique('uuid', "{$name}_uuid_unique");
            $table->unique('session_id', "{$name}_session_id_unique");
            $table->index(['workspace_id', 'status'], "{$name}_workspace_id_status_index");
            $table->index(['session_id', 'status'], "{$name}_session_id_status_index");
            $table->index(['provider_type', 'is_active'], "{$name}_provider_type_is_active_index");
            $table->index(['workspace_id', 'is_primary'], "{$name}_workspace_id_is_primary_index");
        });
        if ($mysql) {
            $this->reference($name, 'workspace_id', 'workspaces', 'CASCADE');
            $this->reference($name, 'created_by', 'users', 'SET NULL');
        }
    }

    public function down()
    {
        Schema::connection($this->getConnection())->dropIfExists(config('whatsapp.tables.sessions'));
    }

    public function getConnection()
    {
        return config('whatsapp.connection');
    }

    /** Only to a table that exists and whose key has our type: a signed id could not be referred to. */
    private function reference(string $table, string $column, string $parent, string $onDelete): void
    {
        $connection = DB::connection($this->getConnection());
        $fits = $connection->selectOne(
            "SELECT 1 FROM information_schema.COLUMNS AS c JOIN information_schema.TABLES AS t USING (TABLE_SCHEMA, TABLE_NAME)
             WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = ? AND t.ENGINE = 'InnoDB' AND c.COLUMN_NAME = 'id'
             AND c.COLUMN_KEY = 'PRI' AND c.DATA_TYPE = 'bigint' AND c.COLUMN_TYPE LIKE '%unsigned%'",
            [$parent],
        );
        if ($fits !== null) {
            $connection->statement(
                "ALTER TABLE `{$table}` ADD CONSTRAINT `{$table}_{$column}_foreign` FOREIGN KEY (`{$column}`) REFERENCES `{$parent}` (`id`) ON DELETE {$onDelete}"
            );
        }
    }
};
