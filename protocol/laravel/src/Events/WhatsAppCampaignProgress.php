<?php

namespace Wafleet\Laravel\Events;

/** How a campaign goes, told now and then while its messages end. Its session is `auto`: it is about the workspace. */
final class WhatsAppCampaignProgress extends Event
{
    public function campaign(): string
    {
        return (string) $this->envelope->get('campaign');
    }

    /** `running`, `paused` or `cancelled`. */
    public function state(): string
    {
        return (string) $this->envelope->get('state');
    }

    /** Messages that the fleet has seen and that have no end yet. */
    public function waiting(): int
    {
        return (int) $this->envelope->get('waiting');
    }

    public function succeeded(): int
    {
        return (int) $this->envelope->get('succeeded');
    }

    /** Refused, cancelled or opted out of. */
    public function failed(): int
    {
        return (int) $this->envelope->get('failed');
    }

    /** They may have gone out. */
    public function unknown(): int
    {
        return (int) $this->envelope->get('unknown');
    }

    public function expired(): int
    {
        return (int) $this->envelope->get('expired');
    }
}
