<?php

namespace Wafleet\Laravel\Events;

/** What every event about one message has. */
abstract class OfMessage extends Event
{
    /** WhatsApp's key of the message, unique within a session. */
    public function key(): string
    {
        return (string) $this->envelope->get('key');
    }

    /** WhatsApp's id of the message, the third part of the key. */
    public function messageId(): string
    {
        return (string) $this->envelope->get('id');
    }

    public function chatId(): string
    {
        return (string) $this->envelope->get('chat_id');
    }
}
