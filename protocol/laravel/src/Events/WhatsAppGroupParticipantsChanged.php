<?php

namespace Wafleet\Laravel\Events;

/** Somebody came, left, or administrates a group now. */
final class WhatsAppGroupParticipantsChanged extends Event
{
    public function chatId(): string
    {
        return (string) $this->envelope->get('chat_id');
    }

    /** add, join, remove, leave, promote or demote. */
    public function change(): string
    {
        return (string) $this->envelope->get('change');
    }

    /** Who did it, if that is known: id, phone, lid and authoritative. */
    public function author(): ?array
    {
        return $this->envelope->get('author');
    }

    /** @return list<array> to whom: id, phone, lid and authoritative of each */
    public function participants(): array
    {
        return (array) $this->envelope->get('participants', []);
    }
}
