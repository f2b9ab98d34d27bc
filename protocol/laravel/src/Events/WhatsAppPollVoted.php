<?php

namespace Wafleet\Laravel\Events;

/** Somebody chose answers of a poll; the key is that of the poll. */
final class WhatsAppPollVoted extends AboutMessage
{
    /** @return list<string> all answers that this person has chosen now */
    public function options(): array
    {
        return (array) $this->envelope->get('options', []);
    }
}
