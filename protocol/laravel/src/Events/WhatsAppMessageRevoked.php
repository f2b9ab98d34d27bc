<?php

namespace Wafleet\Laravel\Events;

/** A message was taken back for everybody. */
final class WhatsAppMessageRevoked extends AboutMessage
{
    /** Whether it was one of our own. */
    public function isOwn(): bool
    {
        return (bool) $this->envelope->get('from_me');
    }
}
