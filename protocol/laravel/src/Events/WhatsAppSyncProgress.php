<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** A sync began, came further, or ended. */
final class WhatsAppSyncProgress extends OfSync
{
    /** @return 'running'|'done'|'superseded' */
    public function state(): string
    {
        return (string) $this->envelope->get('state');
    }

    /** Chats whose messages have been told. */
    public function chats(): int
    {
        return (int) $this->envelope->get('chats');
    }

    /** All the chats it takes, as far as it is known. */
    public function chatsTotal(): int
    {
        return (int) $this->envelope->get('chats_total');
    }

    public function messages(): int
    {
        return (int) $this->envelope->get('messages');
    }

    public function groups(): int
    {
        return (int) $this->envelope->get('groups');
    }

    public function startedAt(): ?CarbonImmutable
    {
        return $this->envelope->moment('started_at');
    }
}
