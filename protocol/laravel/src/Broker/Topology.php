<?php

namespace Wafleet\Laravel\Broker;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Wire\AMQPTable;
use RuntimeException;
use Wafleet\Laravel\Signing\Signature;

/**
 * This application's own queue of events and its dead letters. The exchanges belong to the fleet and are only looked for.
 *
 * The queue is replicated and has one active consumer: further `whatsapp:consume` processes stand by, and the order of a
 * session's events is kept.
 */
final class Topology
{
    /** @param array{name: string, bindings: list<string>, delivery_limit: int} $config */
    public function __construct(private readonly array $config) {}

    public static function deadLetters(string $queue): string
    {
        return "{$queue}.dead";
    }

    /** Declares queues and bindings; what is there already stays as it is. */
    public function declare(AMQPChannel $channel): void
    {
        $name = $this->config['name'];
        try {
            $channel->exchange_declare(Signature::EVENTS, 'topic', true, true, false);
        } catch (AMQPProtocolChannelException $error) {
            throw new RuntimeException($error->getCode() === 404
                ? 'the exchange wa.events does not exist: start a worker of the fleet, which declares it, or check the virtual host of WHATSAPP_AMQP_URL'
                : "wa.events cannot be used: {$error->getMessage()}", 0, $error);
        }
        foreach ($this->queues() as $queue => $arguments) {
            try {
                $channel->queue_declare($queue, false, true, false, false, false, new AMQPTable($arguments));
            } catch (AMQPProtocolChannelException $error) {
                throw new RuntimeException($error->getCode() === 406
                    ? "the queue {$queue} exists with other arguments ({$error->getMessage()}): give this application another WHATSAPP_QUEUE, or delete the queue when it is empty"
                    : "the queue {$queue} cannot be declared: {$error->getMessage()}", 0, $error);
            }
        }
        foreach ($this->config['bindings'] as $pattern) {
            $channel->queue_bind($name, Signature::EVENTS, $pattern);
        }
    }

    /** @return array<string, array<string, mixed>> arguments by name */
    public function queues(): array
    {
        $name = $this->config['name'];

        return [
            self::deadLetters($name) => ['x-queue-type' => 'quorum'],
            $name => [
                'x-queue-type' => 'quorum',
                'x-single-active-consumer' => true,
                'x-delivery-limit' => (int) $this->config['delivery_limit'],
                'x-dead-letter-exchange' => '',
                'x-dead-letter-routing-key' => self::deadLetters($name),
                // At least once takes reject-publish, by RabbitMQ's rules; there is no length limit that it could act on.
                'x-dead-letter-strategy' => 'at-least-once',
                'x-overflow' => 'reject-publish',
            ],
        ];
    }
}
