<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** WhatsApp asks for a passkey of the person who links; {@see \Wafleet\Laravel\Session::answerPasskey()} answers. */
final class WhatsAppPasskeyRequested extends Event
{
    public function requestId(): string
    {
        return (string) $this->envelope->get('request_id');
    }

    /** What `PublicKeyCredential.parseRequestOptionsFromJSON()` takes on the person's device. */
    public function request(): array
    {
        return (array) $this->envelope->get('request');
    }

    /** The origin that the device has to sign for. */
    public function origin(): string
    {
        return (string) $this->envelope->get('origin');
    }

    public function expiresAt(): ?CarbonImmutable
    {
        return $this->envelope->moment('expires_at');
    }
}
