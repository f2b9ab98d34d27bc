<?php

namespace Wafleet\Laravel\Inbox;

use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Events\Dispatcher;
use Wafleet\Laravel\Broadcasting\Broadcasts;
use Wafleet\Laravel\Events\EventTypes;
use Wafleet\Laravel\Events\WhatsAppEventsMissing;
use Wafleet\Laravel\Exceptions\NotPublished;

/**
 * Takes each event once. The note that it was taken, what it changes in this package's tables, and whatever listeners
 * write to the same database are one transaction: a crash or an exception leaves nothing half done, and the event comes again.
 */
final class Inbox
{
    public function __construct(
        private readonly Tables $tables,
        private readonly States $states,
        private readonly Messages $messages,
        private readonly Dispatcher $events,
        private readonly Broadcasts $broadcasts,
        private readonly ExceptionHandler $exceptions,
    ) {}

    /**
     * Returns false when the event was taken before.
     *
     * @param  bool  $redelivered  the broker gave it out before: then nobody knows whether the page heard of it
     */
    public function take(Envelope $envelope, bool $redelivered = false): bool
    {
        try {
            $taken = $this->tables->connection()->transaction(fn () => $this->note($envelope));
        } catch (NotPublished $error) {
            // Thrown by the commit when a listener's command could not be published: the event itself is done.
            if (! $this->tables->query('inbox')->where('event_id', $envelope->id)->exists()) {
                throw $error;
            }
            $this->exceptions->report($error);
            $taken = true;
        }
        if ($taken || $redelivered) {
            $this->broadcasts->send($envelope);
        }

        return $taken;
    }

    /** Forgets events that cannot come again, a bounded number at a time. Returns how many. */
    public function prune(int $days, int $limit = 1000): int
    {
        return $this->tables->query('inbox')->where('taken_at', '<', now('UTC')->subDays($days)->format(Tables::MOMENT))->limit($limit)->delete();
    }

    private function note(Envelope $envelope): bool
    {
        $noted = $this->tables->query('inbox')->insertOrIgnore([
            'event_id' => $envelope->id,
            'session_id' => $envelope->sessionId,
            'type' => mb_substr($envelope->type, 0, 64),
            'taken_at' => Tables::now(),
        ]);
        // Told again by another owner it has a new place in the story, though it is the same event.
        $missing = $this->states->advance($envelope);
        if ($missing !== null) {
            $this->events->dispatch(new WhatsAppEventsMissing($envelope->workspaceId, $envelope->sessionId, $envelope->epoch, ...$missing));
        }
        if ($noted === 0) {
            return false;
        }
        $advanced = $this->messages->record($envelope);
        $this->events->dispatch(EventTypes::event($envelope, $advanced));

        return true;
    }
}
