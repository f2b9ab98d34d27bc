<?php

namespace Wafleet\Laravel\Events;

/** There is another label, or it is called otherwise, or gone. WhatsApp Business has labels. */
final class WhatsAppLabelUpdated extends Event
{
    public function labelId(): string
    {
        return (string) $this->envelope->get('id');
    }

    public function name(): string
    {
        return (string) $this->envelope->get('name');
    }

    /** `#` and six hexadecimal digits. */
    public function color(): ?string
    {
        return $this->envelope->get('color');
    }

    public function isDeleted(): bool
    {
        return (bool) $this->envelope->get('deleted');
    }
}
