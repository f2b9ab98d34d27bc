<?php

namespace Wafleet\Laravel\Events;

/**
 * Events of a session did not arrive before later ones: `seq` jumped. They may come late; if not, ask the session for its
 * status and look into the dead letters of the queue.
 */
final class WhatsAppEventsMissing
{
    public function __construct(
        public readonly int $workspaceId,
        public readonly string $sessionId,
        public readonly int $epoch,
        public readonly int $from,
        public readonly int $to,
    ) {}
}
