<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** The session's public status, its cause or its health changed. */
final class WhatsAppSessionStatusChanged extends Event
{
    /** initializing, qr_required, passkey_required, authenticating, connected, disconnected, logged_out, failed or stopped. */
    public function status(): string
    {
        return (string) $this->envelope->get('status');
    }

    /** The same as {@see status()} when only the health changed; null for the first status of a session. */
    public function previous(): ?string
    {
        return $this->envelope->get('previous');
    }

    public function cause(): string
    {
        return (string) $this->envelope->get('cause');
    }

    public function since(): ?CarbonImmutable
    {
        return $this->envelope->moment('since');
    }

    public function isConnected(): bool
    {
        return $this->status() === 'connected';
    }

    /** The own number, known from `connected` on. */
    public function phone(): ?string
    {
        return $this->envelope->get('phone');
    }

    /** 0 (useless) to 100 (perfect). */
    public function healthScore(): int
    {
        return (int) $this->envelope->get('health.score');
    }

    /** WhatsApp's restriction of the account: its kind, and until when if WhatsApp says so. */
    public function restriction(): ?array
    {
        return $this->envelope->get('health.restricted');
    }
}
