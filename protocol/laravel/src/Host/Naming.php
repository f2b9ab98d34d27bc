<?php

namespace Wafleet\Laravel\Host;

use InvalidArgumentException;

/** What the host's schema calls a linked number: the table, and the column that leads to it from others. */
final class Naming
{
    private function __construct(public readonly string $table, public readonly string $column, public readonly string $contacts) {}

    public static function of(string $name): self
    {
        return match ($name) {
            'sessions' => new self('whatsapp_sessions', 'whatsapp_session_id', 'contact_sessions'),
            'accounts' => new self('whatsapp_accounts', 'whatsapp_account_id', 'contact_accounts'),
            default => throw new InvalidArgumentException('the naming is sessions or accounts'),
        };
    }

    /** As the tables that are there say. */
    public static function found(Database $database): self
    {
        return self::of($database->isTable('whatsapp_accounts') ? 'accounts' : 'sessions');
    }

    public function isFleets(): bool
    {
        return $this->table === 'whatsapp_sessions';
    }
}
