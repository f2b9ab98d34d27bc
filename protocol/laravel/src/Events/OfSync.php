<?php

namespace Wafleet\Laravel\Events;

/** A part of a session's past, or how far the telling of it has come. */
abstract class OfSync extends Event
{
    /** Which sync: the id of the command that asked for it, or of its own where linking did. */
    public function syncId(): string
    {
        return (string) $this->envelope->get('sync_id');
    }
}
