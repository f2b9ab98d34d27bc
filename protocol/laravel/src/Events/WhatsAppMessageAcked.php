<?php

namespace Wafleet\Laravel\Events;

use Wafleet\Laravel\Inbox\Envelope;

/** An own message got further. */
final class WhatsAppMessageAcked extends OfMessage
{
    /** @param bool $advanced false when a higher level was known before, because events came late: nothing to do then */
    public function __construct(Envelope $envelope, public readonly bool $advanced = true)
    {
        parent::__construct($envelope);
    }

    /** −1 failed, 0 pending, 1 sent, 2 delivered, 3 read, 4 played. */
    public function level(): int
    {
        return (int) $this->envelope->get('ack');
    }

    /** The level's name. */
    public function name(): string
    {
        return (string) $this->envelope->get('name');
    }

    /** Your own name for the message, when a command sent it. */
    public function ref(): ?string
    {
        return $this->envelope->get('reference');
    }
}
