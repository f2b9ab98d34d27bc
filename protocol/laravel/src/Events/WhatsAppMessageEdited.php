<?php

namespace Wafleet\Laravel\Events;

use Carbon\CarbonImmutable;

/** A message has another wording now; `text()` is the new one. */
final class WhatsAppMessageEdited extends Message
{
    public function editedAt(): ?CarbonImmutable
    {
        return $this->envelope->moment('edited_at');
    }
}
