<?php

namespace Wafleet\Laravel\Inbox;

use Illuminate\Contracts\Config\Repository;
use Illuminate\Database\ConnectionInterface;
use Illuminate\Database\DatabaseManager;
use Illuminate\Database\Query\Builder;

/** This package's tables, by what they are for: sessions, states, messages, inbox. */
final class Tables
{
    /** How moments are written: in UTC, whatever the time zones of the application and of the database session are. */
    public const MOMENT = 'Y-m-d H:i:s.v';

    public function __construct(private readonly DatabaseManager $database, private readonly Repository $config) {}

    public function connection(): ConnectionInterface
    {
        return $this->database->connection($this->config->get('whatsapp.connection'));
    }

    public function name(string $table): string
    {
        return $this->config->get("whatsapp.tables.{$table}");
    }

    public function query(string $table): Builder
    {
        return $this->connection()->table($this->name($table));
    }

    public static function now(): string
    {
        return now('UTC')->format(self::MOMENT);
    }
}
