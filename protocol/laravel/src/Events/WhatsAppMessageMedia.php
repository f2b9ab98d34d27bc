<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** The file of a received message is in the object store, or will not come. */
final class WhatsAppMessageMedia extends AboutMessage
{
    public function isAvailable(): bool
    {
        return $this->envelope->get('status') === 'available';
    }

    /** Its key in the fleet's object store. */
    public function object(): ?string
    {
        return $this->envelope->get('object');
    }

    public function mime(): ?string
    {
        return $this->envelope->get('mime');
    }

    /** Bytes. */
    public function size(): ?int
    {
        return $this->envelope->get('size');
    }

    public function sha256(): ?string
    {
        return $this->envelope->get('sha256');
    }

    /** When the store deletes it. */
    public function expiresAt(): ?CarbonImmutable
    {
        return $this->envelope->moment('expires_at');
    }

    /** Why it will not come. */
    public function reason(): ?string
    {
        return $this->envelope->get('reason');
    }
}
