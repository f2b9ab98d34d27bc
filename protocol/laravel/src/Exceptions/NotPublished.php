<?php

namespace Wafleet\Laravel\Exceptions;

use Throwable;
use Wafleet\Laravel\Command;

/**
 * Commands did not reach a queue, as far as this application knows. Publishing the same commands again is safe: the fleet
 * executes an id at most once.
 */
abstract class NotPublished extends WhatsAppException
{
    /** @param non-empty-list<Command> $commands those that did not go out */
    public function __construct(string $message, public readonly array $commands, ?Throwable $previous = null)
    {
        $ids = implode(', ', array_map(fn (Command $command) => $command->id, array_slice($commands, 0, 3)));
        $more = count($commands) > 3 ? ' and '.(count($commands) - 3).' more' : '';
        parent::__construct("{$message} (not published: {$ids}{$more})", 0, $previous);
    }
}
