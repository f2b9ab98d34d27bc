<?php

namespace Wafleet\Laravel\Events;

/** Somebody types, records, is there or not. */
final class WhatsAppPresenceChanged extends Event
{
    public function chatId(): string
    {
        return (string) $this->envelope->get('chat_id');
    }

    /** Who it is, in a group. */
    public function participant(): ?array
    {
        return $this->envelope->get('participant');
    }

    public function state(): string
    {
        return (string) $this->envelope->get('state');
    }
}
