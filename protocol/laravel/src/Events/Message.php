<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** What events with a whole message have. */
abstract class Message extends Event
{
    /** WhatsApp's key, unique within a session. */
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

    public function isGroup(): bool
    {
        return str_ends_with($this->chatId(), '@g.us');
    }

    /** What it is, in WhatsApp's words: `chat` is a text, then `image`, `ptt`, `document`, …. */
    public function kind(): string
    {
        return (string) $this->envelope->get('kind');
    }

    /** The text, or the caption of a medium. */
    public function text(): ?string
    {
        return $this->envelope->get('text');
    }

    /** Who wrote it: id, phone, lid, and which of these two WhatsApp itself goes by (authoritative). */
    public function sender(): array
    {
        return (array) $this->envelope->get('sender', []);
    }

    /** When it was sent, by WhatsApp's clock. */
    public function sentAt(): ?CarbonImmutable
    {
        return $this->envelope->moment('timestamp');
    }
}
