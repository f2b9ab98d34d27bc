<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** A QR to show to the person who links. */
final class WhatsAppQRGenerated extends Event
{
    /** The text to draw as a QR. */
    public function qr(): string
    {
        return (string) $this->envelope->get('qr');
    }

    /** After this it is dead: do not show it. */
    public function expiresAt(): ?CarbonImmutable
    {
        return $this->envelope->moment('expires_at');
    }

    /** Which one of its series, from 1 to {@see max()}. */
    public function attempt(): int
    {
        return (int) $this->envelope->get('attempt');
    }

    public function max(): int
    {
        return (int) $this->envelope->get('max');
    }

    /** Which series, from 1. */
    public function generation(): int
    {
        return (int) $this->envelope->get('generation');
    }
}
