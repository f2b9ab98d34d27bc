<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** A command waits for something the fleet knows of (a budget, a link, a restriction) and goes on by itself. */
final class WhatsAppCommandDeferred extends CommandResult
{
    /** Not before this moment, if that is known. */
    public function until(): ?CarbonImmutable
    {
        return $this->envelope->moment('until');
    }
}
