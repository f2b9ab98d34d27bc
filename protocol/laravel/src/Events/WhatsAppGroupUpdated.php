<?php

namespace Wafleet\Laravel\Events;

/** A group is called otherwise, or others may do something in it. */
final class WhatsAppGroupUpdated extends Event
{
    public function chatId(): string
    {
        return (string) $this->envelope->get('chat_id');
    }

    /** @return list<string> what changed: subject, description, announce, restrict, ephemeral */
    public function changed(): array
    {
        return (array) $this->envelope->get('changed', []);
    }

    public function subject(): ?string
    {
        return $this->envelope->get('subject');
    }

    public function description(): ?string
    {
        return $this->envelope->get('description');
    }

    /** Whether only administrators may write. */
    public function isAnnounce(): bool
    {
        return (bool) $this->envelope->get('announce');
    }

    /** Whether only administrators may change what it is called. */
    public function isRestricted(): bool
    {
        return (bool) $this->envelope->get('restrict');
    }

    /** After how many seconds new messages disappear; 0: never. */
    public function ephemeralSeconds(): int
    {
        return (int) $this->envelope->get('ephemeral', 0);
    }
}
