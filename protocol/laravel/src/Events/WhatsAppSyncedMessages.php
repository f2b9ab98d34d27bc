<?php

namespace Wafleet\Laravel\Events;

/** Messages of one chat from before, the oldest first. */
final class WhatsAppSyncedMessages extends OfSync
{
    public function chatId(): string
    {
        return (string) $this->envelope->get('chat_id');
    }

    /** @return list<array<string, mixed>> as of message.received, with from_me; deduplicate by their key */
    public function messages(): array
    {
        return (array) $this->envelope->get('messages', []);
    }
}
