<?php

namespace Wafleet\Laravel\Events;

/** An own message left, from this session or from the phone itself. */
final class WhatsAppMessageSent extends Message
{
    /** Your own name for it, when a command sent it. */
    public function ref(): ?string
    {
        return $this->envelope->get('reference');
    }

    /** Whether it was written on the phone or on another linked device. */
    public function isFromPhone(): bool
    {
        return $this->envelope->get('source') === 'phone';
    }
}
