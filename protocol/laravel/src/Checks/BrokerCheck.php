<?php

namespace Wafleet\Laravel\Checks;

use Illuminate\Contracts\Config\Repository;
use PhpAmqpLib\Connection\AbstractConnection;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use RuntimeException;
use Wafleet\Laravel\Broker\Broker;
use Wafleet\Laravel\Broker\Topology;
use Wafleet\Laravel\Signing\Signature;

/** Whether the broker can be reached, has the fleet's exchanges, and has our queue as we would declare it. */
final class BrokerCheck
{
    public function __construct(private readonly Broker $broker, private readonly Repository $config) {}

    /** @return iterable<array{bool, string}> */
    public function run(): iterable
    {
        try {
            $connection = $this->broker->connect('laravel check');
        } catch (AMQPExceptionInterface $error) {
            yield [false, "the broker at {$this->broker->address()} cannot be used: {$error->getMessage()}"];

            return;
        }
        yield [true, "the broker at {$this->broker->address()} takes this account"];
        foreach ([Signature::COMMANDS => 'commands go to', Signature::EVENTS => 'events come from'] as $exchange => $what) {
            $error = $this->refused($connection, fn ($channel) => $channel->exchange_declare($exchange, 'topic', true));
            yield match ($error?->getCode()) {
                null => [true, "{$what} {$exchange}"],
                404 => [false, "the exchange {$exchange} does not exist: start a worker of the fleet, which declares it, or check the virtual host"],
                default => [false, "{$exchange}: {$error->getMessage()}"],
            };
        }
        yield $this->queue($connection);
        $connection->close();
    }

    /** @return array{bool, string} */
    private function queue(AbstractConnection $connection): array
    {
        $topology = $this->config->get('whatsapp.queue');
        $name = $topology['name'];
        [$ready, $consumers] = [0, 0];
        $error = $this->refused($connection, function ($channel) use ($name, &$ready, &$consumers) {
            [, $ready, $consumers] = $channel->queue_declare($name, true);
        });
        if ($error !== null) {
            return [false, $error->getCode() === 404 ? "the queue {$name} does not exist: run php artisan whatsapp:declare" : "the queue {$name}: {$error->getMessage()}"];
        }
        try {
            (new Topology($topology))->declare($connection->channel());
        } catch (RuntimeException $error) {
            return [false, $error->getMessage()];
        }
        $dead = 0;
        $this->refused($connection, function ($channel) use ($name, &$dead) {
            [, $dead] = $channel->queue_declare(Topology::deadLetters($name), true);
        });

        return [true, "{$name} has {$ready} events waiting, {$consumers} consumers, {$dead} dead letters"];
    }

    /** On a channel of its own, because a refusal closes it. */
    private function refused(AbstractConnection $connection, callable $ask): ?AMQPProtocolChannelException
    {
        $channel = $connection->channel();
        try {
            $ask($channel);
            $channel->close();

            return null;
        } catch (AMQPProtocolChannelException $error) {
            return $error;
        }
    }
}
