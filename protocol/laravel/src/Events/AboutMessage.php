<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** What happened to a message, and by whom. */
abstract class AboutMessage extends OfMessage
{
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
