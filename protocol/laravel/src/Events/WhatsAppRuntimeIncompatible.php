<?php

namespace Wafleet\Laravel\Events;

/** WhatsApp changed its page; something the fleet uses is missing. */
final class WhatsAppRuntimeIncompatible extends Event
{
    /** @return list<string> */
    public function missing(): array
    {
        return (array) $this->envelope->get('missing', []);
    }
}
