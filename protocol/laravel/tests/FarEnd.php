<?php

namespace Wafleet\Laravel\Tests;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AbstractConnection;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;
use RuntimeException;
use Wafleet\Laravel\Broker\Broker;
use Wafleet\Laravel\Signing\Key;
use Wafleet\Laravel\Signing\Keyring;
use Wafleet\Laravel\Signing\Signature;

/** The fleet as the broker sees it: its exchanges, signed events out of it, commands into it. */
final class FarEnd
{
    private AbstractConnection $connection;

    public AMQPChannel $channel;

    private static int $numbers = 0;

    public function __construct()
    {
        $this->connection = app(Broker::class)->connect('far end');
        $this->channel = $this->connection->channel();
        foreach (['wa.commands', 'wa.events', 'wa.unrouted', 'wa.dead'] as $exchange) {
            $this->channel->exchange_delete($exchange);
        }
        foreach (['shop.whatsapp', 'shop.whatsapp.dead', 'commands'] as $queue) {
            $this->channel->queue_delete($queue);
        }
        $this->channel->exchange_declare('wa.unrouted', 'fanout', false, true, false);
        $this->channel->exchange_declare('wa.commands', 'direct', false, true, false, false, false, new AMQPTable(['alternate-exchange' => 'wa.unrouted']));
        $this->channel->exchange_declare('wa.events', 'topic', false, true, false);
        $this->channel->exchange_declare('wa.dead', 'topic', false, true, false);
        $this->channel->queue_declare('commands', false, true, false, false);
        $this->channel->queue_bind('commands', 'wa.commands', 'control');
        $this->channel->queue_bind('commands', 'wa.unrouted');
        $this->channel->confirm_select();
    }

    /** A golden event's body, with fields changed. */
    public static function golden(string $name, array $changes = []): array
    {
        $body = json_decode(file_get_contents(dirname(__DIR__, 2)."/tests/golden/event/{$name}.json"), true, 512, JSON_THROW_ON_ERROR);

        return array_replace_recursive($body, ['id' => self::id(), 'epoch' => 1, 'seq' => 1], $changes);
    }

    /** An event id that was not used. */
    public static function id(): string
    {
        return sprintf('01M7Q5CQGETYDP8V%010d', ++self::$numbers);
    }

    /** Publishes an event as the fleet does; `$spoil` changes the signed message before it goes out. */
    public function tell(array|string $event, ?callable $spoil = null, ?Key $key = null, ?int $issuedAt = null, int $lifetime = 2_592_000): void
    {
        $body = is_string($event) ? $event : json_encode($event, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
        $fields = is_array($event) ? $event : ['type' => 'session.status', 'id' => self::id(), 'workspace_id' => 7, 'session_id' => 'support-01'];
        $issuedAt ??= now()->getTimestamp();
        $key ??= new Key('fleet-1', 'events', base64_decode(Services::EVENT_SECRET));
        $headers = Signature::sign(
            $key, Signature::EVENTS, $fields['type'], $fields['id'], $fields['workspace_id'], $fields['session_id'], $issuedAt, $issuedAt + $lifetime, $body,
        );
        $letter = (object) ['body' => $body, 'headers' => $headers, 'properties' => ['type' => $fields['type'], 'message_id' => $fields['id'], 'content_type' => 'application/json']];
        $spoil && $spoil($letter);
        $message = new AMQPMessage($letter->body, $letter->properties + ['delivery_mode' => 2, 'application_headers' => new AMQPTable($letter->headers)]);
        $this->channel->basic_publish($message, 'wa.events', "workspace.{$fields['workspace_id']}.session.{$fields['session_id']}.{$fields['type']}");
        $this->channel->wait_for_pending_acks(10);
    }

    /**
     * The commands so far, verified as a worker does.
     *
     * @return list<array{command: array, message: AMQPMessage}>
     */
    public function commands(): array
    {
        $keyring = new Keyring([new Key('host-1', 'commands', base64_decode(Services::COMMAND_SECRET))]);
        $commands = [];
        while ($message = $this->channel->basic_get('commands', true)) {
            Signature::verify($keyring, $message->get_properties(), $message->get('application_headers')->getNativeData(), $message->body, Signature::COMMANDS, time());
            $commands[] = ['command' => json_decode($message->body, true), 'message' => $message];
        }

        return $commands;
    }

    /** @return list<array{reason: string, body: string, headers: array}> */
    public function deadLetters(string $queue = 'shop.whatsapp'): array
    {
        $letters = [];
        while ($message = $this->channel->basic_get("{$queue}.dead", true)) {
            $headers = $message->get('application_headers')->getNativeData();
            $letters[] = ['reason' => $headers['x-wa-reason'] ?? '?', 'body' => $message->body, 'headers' => $headers];
        }

        return $letters;
    }

    /** Waits until so many messages are in a queue: what a consumer gives back arrives a moment after its end. */
    public function waitForReady(int $expected, string $queue = 'shop.whatsapp'): void
    {
        for ($until = microtime(true) + 10; ($ready = $this->channel->queue_declare($queue, true)[1]) !== $expected; usleep(20_000)) {
            if (microtime(true) > $until) {
                throw new RuntimeException("{$queue} has {$ready} messages, not {$expected}");
            }
        }
    }

    /** Cuts a connection as a restart of the broker would. */
    public function cut(string $name): void
    {
        for ($until = microtime(true) + 15; microtime(true) < $until; usleep(100_000)) {
            foreach (Services::api('GET', 'vhosts/'.Services::virtualHost().'/connections') as $connection) {
                if (($connection['client_properties']['connection_name'] ?? null) === $name) {
                    Services::api('DELETE', 'connections/'.rawurlencode($connection['name']));

                    return;
                }
            }
        }
        throw new RuntimeException("the broker knows no connection {$name}");
    }

    public function close(): void
    {
        try {
            $this->connection->close();
        } catch (AMQPTimeoutException) {
            // The broker closes it by itself.
        }
    }
}
