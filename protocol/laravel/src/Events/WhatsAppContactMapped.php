<?php

namespace Wafleet\Laravel\Events;

/** Both ids of somebody are known. The same pair comes under the same event id, whenever it is told. */
final class WhatsAppContactMapped extends Event
{
    public function phone(): string
    {
        return (string) $this->envelope->get('phone');
    }

    public function lid(): string
    {
        return (string) $this->envelope->get('lid');
    }
}
