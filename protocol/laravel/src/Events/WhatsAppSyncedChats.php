<?php

namespace Wafleet\Laravel\Events;

/** Up to 50 chats of a session: those with something unread first, then the one with the newest message. */
final class WhatsAppSyncedChats extends OfSync
{
    /** @return list<array<string, mixed>> chat_id, name, phone, lid, unread, timestamp, archived, pinned, muted; one may come again */
    public function chats(): array
    {
        return (array) $this->envelope->get('chats', []);
    }
}
