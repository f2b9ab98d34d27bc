<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** A code to be typed into the phone. */
final class WhatsAppLinkCodeGenerated extends Event
{
    public function code(): string
    {
        return (string) $this->envelope->get('code');
    }

    public function phone(): string
    {
        return (string) $this->envelope->get('phone');
    }

    public function expiresAt(): ?CarbonImmutable
    {
        return $this->envelope->moment('expires_at');
    }
}
