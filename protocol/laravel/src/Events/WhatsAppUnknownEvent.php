<?php

namespace Wafleet\Laravel\Events;

/** An event of a type, or of a version, that this release does not know: the fleet is newer. All of it is in the envelope. */
final class WhatsAppUnknownEvent extends Event
{
    public function type(): string
    {
        return $this->envelope->type;
    }
}
