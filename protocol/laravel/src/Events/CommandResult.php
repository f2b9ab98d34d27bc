<?php

namespace Wafleet\Laravel\Events;

/** What became of a command. */
abstract class CommandResult extends Event
{
    /** The command's type, such as `message.send`. */
    public function commandType(): string
    {
        return (string) $this->envelope->get('command_type');
    }

    /** The stable code of what went wrong, such as `recipient_not_found`. */
    public function errorCode(): ?string
    {
        return $this->envelope->get('error.code');
    }

    /** What went wrong, for people. */
    public function errorMessage(): ?string
    {
        return $this->envelope->get('error.message');
    }
}
