<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** What events about a message that is known by its key have. */
abstract class AboutMessage extends Event
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

    /** Who did it: id, phone, lid, and which of these two WhatsApp itself goes by (authoritative); empty where nobody is named. */
    public function sender(): array
    {
        return (array) $this->envelope->get('sender', []);
    }

    /** When, by WhatsApp's clock. */
    public function happenedAt(): ?CarbonImmutable
    {
        return $this->envelope->moment('timestamp');
    }
}
