<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** What events with a whole message have. */
abstract class Message extends OfMessage
{
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
