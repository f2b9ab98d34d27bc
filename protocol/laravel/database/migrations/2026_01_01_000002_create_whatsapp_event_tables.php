<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

/** What this package keeps: the inbox, how far each session was heard, and messages with their acks. */
return new class extends Migration
{
    public function up()
    {
        $schema = Schema::connection($this->getConnection());
        $exact = function ($column) use ($schema) {
            // Ids differ by case.
            return $schema->getConnection()->getDriverName() === 'sqlite' ? $column : $column->charset('utf8mb4')->collation('utf8mb4_bin');
        };
        foreach (['inbox', 'states', 'messages'] as $table) {
            $name = config("whatsapp.tables.{$table}");
            if (! $schema->hasTable($name)) {
                $schema->create($name, fn (Blueprint $blueprint) => $this->{$table}($blueprint, $exact, $name));
            }
        }
    }

    public function down()
    {
        foreach (['inbox', 'states', 'messages'] as $table) {
            Schema::connection($this->getConnection())->dropIfExists(config("whatsapp.tables.{$table}"));
        }
    }

    public function getConnection()
    {
        return config('whatsapp.connection');
    }

    private function inbox(Blueprint $table, callable $exact, string $name): void
    {
        $exact($table->char('event_id', 26))->primary();
        $exact($table->string('session_id', 64));
        $table->string('type', 64);
        $table->dateTime('taken_at', 3)->index("{$name}_taken_at_index");
    }

    private function states(Blueprint $table, callable $exact): void
    {
        $exact($table->string('session_id', 64))->primary();
        $table->unsignedBigInteger('workspace_id');
        $table->unsignedBigInteger('epoch');
        $table->unsignedBigInteger('seq');
        $table->text('missing')->nullable();
        $table->string('status', 32)->nullable();
        $table->dateTime('status_since', 3)->nullable();
        $table->string('cause', 64)->nullable();
        $table->unsignedTinyInteger('health_score')->nullable();
        $table->string('phone', 32)->nullable();
        $table->text('qr')->nullable();
        $table->string('code', 32)->nullable();
        $table->dateTime('link_expires_at', 3)->nullable();
        $table->unsignedInteger('link_attempt')->nullable();
        $table->unsignedInteger('link_max')->nullable();
        $table->dateTime('updated_at', 3)->nullable();
    }

    private function messages(Blueprint $table, callable $exact, string $name): void
    {
        $table->bigIncrements('id');
        $table->unsignedBigInteger('workspace_id');
        $exact($table->string('session_id', 64));
        $table->string('direction', 3);                       // in | out
        $exact($table->string('message_key'))->nullable();    // WhatsApp's, unique within a session
        $exact($table->string('message_id', 128))->nullable();
        $table->string('chat_id', 128)->nullable();
        $table->string('sender_id', 128)->nullable();
        $table->string('sender_phone', 32)->nullable();
        $table->string('sender_name')->nullable();
        $table->string('kind', 32)->nullable();
        $table->longText('text')->nullable();
        $table->boolean('has_media')->default(false);
        $exact($table->string('quoted_id', 128))->nullable();
        $table->string('source', 32)->nullable();             // this_session | phone
        $table->string('reference')->nullable();              // your own name for it
        $exact($table->string('command_id', 64))->nullable();
        $table->string('outcome', 16)->nullable();            // queued | not_published | succeeded | failed | deferred | unknown
        $table->string('error_code', 64)->nullable();
        $table->string('error_message')->nullable();
        $table->tinyInteger('ack')->nullable();               // -1 failed, 0 pending, 1 sent, 2 delivered, 3 read, 4 played
        $table->dateTime('acked_at', 3)->nullable();
        $table->dateTime('sent_at', 3)->nullable();
        $table->dateTime('created_at', 3)->nullable();
        $table->dateTime('updated_at', 3)->nullable();
        $table->unique(['session_id', 'message_key'], "{$name}_session_id_message_key_unique");
        $table->unique(['workspace_id', 'command_id'], "{$name}_workspace_id_command_id_unique");
        $table->index(['session_id', 'chat_id', 'id'], "{$name}_session_id_chat_id_id_index");
        $table->index(['workspace_id', 'reference'], "{$name}_workspace_id_reference_index");
    }
};
