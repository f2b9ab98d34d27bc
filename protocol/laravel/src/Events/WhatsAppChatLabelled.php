<?php

namespace Wafleet\Laravel\Events;

/** A chat has got a label, or lost it. */
final class WhatsAppChatLabelled extends Event
{
    public function chatId(): string
    {
        return (string) $this->envelope->get('chat_id');
    }

    public function labelId(): string
    {
        return (string) $this->envelope->get('label_id');
    }

    /** What the label is called, where that is known. */
    public function label(): ?string
    {
        return $this->envelope->get('label');
    }

    /** Whether the chat has it now. */
    public function isLabelled(): bool
    {
        return (bool) $this->envelope->get('labelled');
    }
}
