<?php

namespace Wafleet\Laravel\Events;

/**
 * A command came to its end. Exactly one of these is the last word; only `unknown` may be followed by another one, when
 * the fleet learns more.
 */
final class WhatsAppCommandFinished extends CommandResult
{
    /** `succeeded`, `failed` or `unknown`: it may have been done, and is never done again under another id. */
    public function outcome(): string
    {
        return (string) $this->envelope->get('outcome');
    }

    public function succeeded(): bool
    {
        return $this->outcome() === 'succeeded';
    }

    public function failed(): bool
    {
        return $this->outcome() === 'failed';
    }

    public function isUnknown(): bool
    {
        return $this->outcome() === 'unknown';
    }

    /** What it yielded: of `message.send` the message, of `session.status` how the session stands. */
    public function result(): array
    {
        return (array) $this->envelope->get('data', []);
    }
}
