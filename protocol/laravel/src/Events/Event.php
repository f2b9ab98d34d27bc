<?php

namespace Wafleet\Laravel\Events;

use Wafleet\Laravel\Contracts\WhatsAppEvent;
use Wafleet\Laravel\Inbox\Envelope;

/** What all events of the fleet have. */
abstract class Event implements WhatsAppEvent
{
    public function __construct(public readonly Envelope $envelope) {}

    public function workspaceId(): int
    {
        return $this->envelope->workspaceId;
    }

    public function sessionId(): string
    {
        return $this->envelope->sessionId;
    }

    /** The command it follows from, if any. */
    public function commandId(): ?string
    {
        return $this->envelope->correlationId ?? $this->envelope->get('command_id');
    }

    /** What the sender of that command wanted echoed. */
    public function metadata(): array
    {
        return $this->envelope->metadata ?? [];
    }
}
