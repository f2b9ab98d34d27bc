<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** Somebody calls. */
final class WhatsAppCallReceived extends Event
{
    public function callId(): string
    {
        return (string) $this->envelope->get('id');
    }

    /** Who calls: id, phone, lid, and which of these two WhatsApp itself goes by (authoritative). */
    public function caller(): array
    {
        return (array) $this->envelope->get('sender', []);
    }

    public function isVideo(): bool
    {
        return (bool) $this->envelope->get('video');
    }

    public function isGroup(): bool
    {
        return (bool) $this->envelope->get('group');
    }

    /** Whether the session has rejected it by itself; see {@see \Wafleet\Laravel\Session::rejectCalls()}. */
    public function wasRejected(): bool
    {
        return (bool) $this->envelope->get('rejected');
    }

    public function happenedAt(): ?CarbonImmutable
    {
        return $this->envelope->moment('timestamp');
    }
}
