<?php

namespace Wafleet\Laravel\Events;

/** Groups of a session, with those who are in them. */
final class WhatsAppSyncedGroups extends OfSync
{
    /** @return list<array<string, mixed>> group, description, participants */
    public function groups(): array
    {
        return (array) $this->envelope->get('groups', []);
    }
}
