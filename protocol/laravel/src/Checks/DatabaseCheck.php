<?php

namespace Wafleet\Laravel\Checks;

use Illuminate\Contracts\Config\Repository;
use Wafleet\Laravel\Inbox\Tables;

/** Whether the tables are there, with what is written to them, and whether moments in them mean the same to everybody. */
final class DatabaseCheck
{
    private const COLUMNS = [
        'sessions' => ['session_id', 'workspace_id', 'status', 'phone_number', 'qr_code', 'health_score', 'last_activity_at', 'last_connected_at', 'deleted_at'],
        'states' => ['session_id', 'workspace_id', 'epoch', 'seq', 'missing', 'status', 'qr', 'code', 'link_expires_at'],
        'messages' => ['session_id', 'message_key', 'command_id', 'reference', 'outcome', 'ack', 'acked_at'],
        'inbox' => ['event_id', 'session_id', 'type', 'taken_at'],
    ];

    /** A clock that differs by more than this is worth a word, in seconds. */
    private const CLOCK_TOLERANCE = 5;

    public function __construct(private readonly Tables $tables, private readonly Repository $config) {}

    /** @return iterable<array{bool, string}> */
    public function run(): iterable
    {
        $connection = $this->tables->connection();
        $schema = $connection->getSchemaBuilder();
        $missing = [];
        foreach (self::COLUMNS as $table => $columns) {
            $name = $this->tables->name($table);
            if (! $schema->hasTable($name)) {
                $missing[] = $name;
                yield [false, "the table {$name} is missing: run php artisan vendor:publish --tag=whatsapp-migrations and php artisan migrate"];
            } elseif ($lacking = array_diff($columns, $schema->getColumnListing($name))) {
                yield [false, "the table {$name} lacks ".implode(', ', $lacking).($table === 'sessions' ? ': run wafleet migrate up, which adds them' : ': its migration was changed')];
            }
        }
        if ($missing === []) {
            yield [true, "the tables are in the database {$connection->getDatabaseName()}"];
        }
        if ($connection->getDriverName() === 'sqlite') {
            return;
        }
        $clock = $connection->selectOne('SELECT UNIX_TIMESTAMP() AS unix, TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW()) AS shift');
        $ahead = now()->getTimestamp() - (int) $clock->unix;
        yield abs($ahead) <= self::CLOCK_TOLERANCE
            ? [true, 'this machine and the database agree about the time']
            : [false, 'this machine\'s clock is '.abs($ahead).' seconds '.($ahead > 0 ? 'ahead of' : 'behind').' the database\'s: set the clocks by NTP'];
        $sessions = $this->tables->name('sessions');
        $local = array_column($connection->select(
            "SELECT COLUMN_NAME AS name FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND DATA_TYPE = 'timestamp'", [$sessions],
        ), 'name');
        $hours = (int) $clock->shift / 3600;
        yield $hours == 0 || $local === []
            ? [true, 'moments in the database are read in UTC']
            : [false, sprintf(
                'the database session is %+g hours off UTC and %s has TIMESTAMP columns (%s): what the fleet writes there reads wrong by that much. Set \'timezone\' => \'+00:00\' for this connection in config/database.php',
                $hours, $sessions, implode(', ', $local),
            )];
    }
}
