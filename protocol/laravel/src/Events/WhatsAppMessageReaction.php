<?php

namespace Wafleet\Laravel\Events;

/** Somebody reacted to a message, or took that back. */
final class WhatsAppMessageReaction extends AboutMessage
{
    /** The reaction; null: it was taken back. */
    public function emoji(): ?string
    {
        return $this->envelope->get('emoji');
    }
}
