<?php

namespace Wafleet\Laravel\Broadcasting;

use Illuminate\Broadcasting\BroadcastManager;
use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Support\Arr;
use Throwable;
use Wafleet\Laravel\Events\EventTypes;
use Wafleet\Laravel\Inbox\Envelope;

/**
 * Tells pages what happened. A broadcaster that is away costs nothing but the broadcast: it is reported, and a page
 * fetches what it missed when it subscribes again.
 */
final class Broadcasts
{
    /** What of an event's data a page gets. Never a message's text: it has no bound that a broadcaster would accept. */
    private const FIELDS = [
        'session.qr' => ['qr', 'expires_at', 'generation', 'attempt', 'max'],
        'session.code' => ['code', 'phone', 'expires_at'],
        'session.passkey' => ['request_id', 'request', 'origin', 'expires_at'],
        'session.status' => ['status', 'previous', 'since', 'cause', 'attempt', 'health', 'phone'],
        'message.received' => ['key', 'id', 'chat_id', 'kind', 'has_media', 'timestamp'],
        'message.sent' => ['key', 'id', 'chat_id', 'kind', 'has_media', 'timestamp', 'source', 'reference', 'command_id'],
        'message.ack' => ['key', 'id', 'chat_id', 'ack', 'name', 'reference', 'command_id'],
        'command.result' => ['command_id', 'command_type', 'outcome', 'until', 'error'],
        'runtime.incompatible' => ['missing'],
    ];

    /** Until when, on the monotonic clock in seconds, nothing is tried after a failure. */
    private float $pausedUntil = 0;

    public function __construct(
        private readonly BroadcastManager $manager,
        private readonly Repository $config,
        private readonly ExceptionHandler $exceptions,
    ) {}

    public function send(Envelope $envelope): void
    {
        $config = $this->config->get('whatsapp.broadcasting');
        $driver = $config['driver'] ?? null;
        $fields = self::FIELDS[$envelope->type] ?? null;
        if (in_array($driver, [null, '', 'null'], true) || $fields === null || $envelope->version !== Envelope::VERSION
            || ! in_array($envelope->type, $config['events'], true) || hrtime(true) / 1e9 < $this->pausedUntil) {
            return;
        }
        $channel = strtr($config['channel'], ['{workspace}' => $envelope->workspaceId, '{session}' => $envelope->sessionId]);
        try {
            $this->manager->queue(new SessionBroadcast($channel, class_basename(EventTypes::CLASSES[$envelope->type]), $this->payload($envelope, $fields), $driver));
        } catch (Throwable $error) {
            $this->pausedUntil = hrtime(true) / 1e9 + $config['pause'];
            $this->exceptions->report($error);
        }
    }

    private function payload(Envelope $envelope, array $fields): array
    {
        return [
            'workspace_id' => $envelope->workspaceId,
            'session_id' => $envelope->sessionId,
            'epoch' => $envelope->epoch,
            'seq' => $envelope->seq,
            'occurred_at' => $envelope->occurredAt->format('Y-m-d\TH:i:s.v\Z'),
            // A page counts down from here: its own clock may be wrong.
            'sent_at' => now('UTC')->format('Y-m-d\TH:i:s.v\Z'),
        ] + Arr::only($envelope->data, $fields);
    }
}
