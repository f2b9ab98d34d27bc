<?php

namespace Wafleet\Laravel\Events;

/** Somebody wrote. */
final class WhatsAppMessageReceived extends Message
{
    /** The name the sender gave themselves. */
    public function senderName(): ?string
    {
        return $this->envelope->get('notify_name');
    }
}
