<?php

namespace Wafleet\Laravel\Broker;

use Illuminate\Contracts\Cache\Factory as Cache;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Foundation\Application;
use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AbstractConnection;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;
use RuntimeException;
use Throwable;
use Wafleet\Laravel\Inbox\Envelope;
use Wafleet\Laravel\Inbox\Inbox;
use Wafleet\Laravel\Inbox\Tables;
use Wafleet\Laravel\Signing\Keyring;
use Wafleet\Laravel\Signing\Rejected;
use Wafleet\Laravel\Signing\Signature;

/**
 * The life of one consumer: connect, verify, take, acknowledge, until somebody asks for the end.
 *
 * A delivery is acknowledged when it was taken or is safely among the dead letters. An event whose listeners throw is
 * tried again here, so that the events behind it do not overtake it. While the database or the broker is away it waits,
 * and nothing is taken for lost.
 */
final class Consumer
{
    /** Longest time in seconds between two looks at signals, limits, `queue:restart` and maintenance. */
    private const TICK_SECONDS = 1.0;

    /** Seconds between tries while the broker or the database is away: doubled up to the second. */
    private const FIRST_WAIT_SECONDS = 1;

    private const LONGEST_WAIT_SECONDS = 30;

    private const PRUNE_EVERY_SECONDS = 3600;

    /** Laravel's own exit code of a worker that uses too much memory. */
    private const EXIT_MEMORY = 12;

    private const RESTART_KEY = 'illuminate:queue:restart';

    private bool $stopping = false;

    private int $taken = 0;

    private int $exitCode = 0;

    private ?AbstractConnection $connection = null;

    private ?AMQPChannel $letters = null;

    private float $startedAt;

    private float $lookedAt = 0;

    private float $prunedAt = 0;

    private mixed $restart = null;

    /** @var callable(string): void */
    private $say;

    public function __construct(
        private readonly Application $app,
        private readonly Broker $broker,
        private readonly Keyring $keyring,
        private readonly Inbox $inbox,
        private readonly Tables $tables,
        private readonly ExceptionHandler $exceptions,
        private readonly Cache $cache,
    ) {}

    /** Asks for the end: the event in hand is finished first. */
    public function stop(): void
    {
        $this->stopping = true;
    }

    /**
     * Runs until the end and returns the exit code.
     *
     * @param  callable(string): void  $say
     *
     * @throws RuntimeException when the queue is not as it should be: waiting would not help
     */
    public function run(string $queue, int $prefetch, Limits $limits, callable $say, bool $inMaintenance = false): int
    {
        $this->say = $say;
        $this->startedAt = microtime(true);
        $this->restart = $this->restartedAt();
        $wait = self::FIRST_WAIT_SECONDS;
        while (! $this->stopping) {
            $before = $this->taken;
            try {
                if (! $inMaintenance && $this->app->isDownForMaintenance()) {
                    $this->pause(self::TICK_SECONDS);
                    $this->look($limits);

                    continue;
                }
                $this->consume($queue, $prefetch, $limits, $inMaintenance);
            } catch (DatabaseAway $away) {
                ($this->say)("the database is away: {$away->getMessage()}");
                $this->close();
                $this->untilDatabaseIsBack($limits);
            } catch (AMQPProtocolChannelException $error) {
                $this->close();
                throw new RuntimeException("the queue {$queue} cannot be consumed: {$error->getMessage()}", 0, $error);
            } catch (AMQPExceptionInterface $error) {
                $this->close();
                $wait = $this->taken > $before ? self::FIRST_WAIT_SECONDS : min(2 * $wait, self::LONGEST_WAIT_SECONDS);
                ($this->say)("the broker at {$this->broker->address()} is away: {$error->getMessage()}; again in {$wait} s");
                $this->pause($wait);
                $this->look($limits);
            }
        }
        $this->close();

        return $this->exitCode;
    }

    public function taken(): int
    {
        return $this->taken;
    }

    private function consume(string $queue, int $prefetch, Limits $limits, bool $inMaintenance): void
    {
        $this->connection = $this->broker->connect('laravel consumer');
        if ($this->app['config']['whatsapp.queue.declare']) {
            $declaring = $this->connection->channel();
            (new Topology(['name' => $queue] + $this->app['config']['whatsapp.queue']))->declare($declaring);
            $declaring->close();
        }
        $channel = $this->connection->channel();
        $channel->basic_qos(0, $limits->messages > 0 ? min($prefetch, $limits->messages) : $prefetch, false);
        $channel->basic_consume($queue, '', false, false, false, false, fn (AMQPMessage $delivery) => $this->deliver($delivery, $queue, $limits));
        ($this->say)("consuming {$queue}");
        while (! $this->stopping && $channel->is_consuming()) {
            try {
                $channel->wait(null, false, $limits->whenEmpty ? 0.2 : self::TICK_SECONDS);
            } catch (AMQPTimeoutException) {
                if ($limits->whenEmpty && $this->isEmpty($queue)) {
                    $this->stop();
                }
                $this->connection->checkHeartBeat();
            }
            $this->look($limits);
            if (! $inMaintenance && ! $this->stopping && $this->app->isDownForMaintenance()) {
                break;
            }
        }
        // Closing gives back, in order, what was prefetched and not acknowledged.
        $this->close();
    }

    private function deliver(AMQPMessage $delivery, string $queue, Limits $limits): void
    {
        if ($this->stopping) {
            return; // goes back to the queue
        }
        $properties = array_intersect_key($delivery->get_properties(), ['type' => 1, 'message_id' => 1, 'content_type' => 1]);
        $headers = $delivery->has('application_headers') ? $delivery->get('application_headers')->getNativeData() : [];
        try {
            $verified = Signature::verify($this->keyring, $properties, $headers, $delivery->getBody(), Signature::EVENTS, now()->getTimestamp());
            $envelope = Envelope::parse($delivery->getBody(), $verified);
        } catch (Rejected $rejected) {
            $this->deadLetter($delivery, $queue, $headers, $rejected->reason, $rejected->getMessage());
            $this->settled($delivery, $limits);

            return;
        }
        if ($this->take($envelope, $delivery, $queue, $headers)) {
            $this->settled($delivery, $limits);
        }
    }

    /** Returns false when the end was asked for before it was taken: it goes back to the queue. */
    private function take(Envelope $envelope, AMQPMessage $delivery, string $queue, array $headers): bool
    {
        ['tries' => $tries, 'backoff' => $backoff] = $this->app['config']['whatsapp.consume'];
        for ($attempt = 1; ; $attempt++) {
            try {
                $this->inbox->take($envelope, (bool) $delivery->isRedelivered());

                return true;
            } catch (Throwable $error) {
                $this->unlessDatabaseAnswers($error);
                $this->exceptions->report($error);
                if ($attempt >= $tries) {
                    $this->deadLetter($delivery, $queue, $headers, 'listener_failed', get_class($error).': '.$error->getMessage());

                    return true;
                }
                $this->pause((float) ($backoff[min($attempt, count($backoff)) - 1] ?? 1));
                if ($this->stopping) {
                    return false;
                }
            }
        }
    }

    private function settled(AMQPMessage $delivery, Limits $limits): void
    {
        $delivery->ack();
        $this->taken++;
        if ($limits->messages > 0 && $this->taken >= $limits->messages) {
            $this->stop();
        }
    }

    /** Keeps what cannot be taken, with the reason, and with everything it came with. Returns when the broker has it. */
    private function deadLetter(AMQPMessage $delivery, string $queue, array $headers, string $reason, string $detail): void
    {
        if ($this->letters === null) {
            $this->letters = $this->connection->channel();
            $this->letters->confirm_select();
            $this->letters->set_nack_handler(fn () => throw new RuntimeException("the broker takes no dead letters of {$queue}"));
            $this->letters->set_return_listener(fn () => throw new RuntimeException('the queue '.Topology::deadLetters($queue).' does not exist: run whatsapp:declare'));
        }
        $properties = array_diff_key($delivery->get_properties(), ['application_headers' => 1, 'expiration' => 1]);
        $letter = new AMQPMessage($delivery->getBody(), ['delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT] + $properties);
        $letter->set('application_headers', new AMQPTable([
            'x-wa-reason' => $reason,
            'x-wa-detail' => mb_strcut(mb_scrub($detail), 0, 500),
            'x-wa-routing-key' => (string) $delivery->getRoutingKey(),
        ] + $headers));
        $this->letters->basic_publish($letter, '', Topology::deadLetters($queue), true);
        try {
            $this->letters->wait_for_pending_acks_returns($this->broker->confirmTimeout());
        } catch (AMQPTimeoutException $error) {
            throw new AMQPConnectionClosedException('a dead letter was not confirmed', 0, $error);
        }
        ($this->say)("dead letter: {$reason}".($delivery->has('message_id') ? " ({$delivery->get('message_id')})" : ''));
    }

    /** @throws DatabaseAway */
    private function unlessDatabaseAnswers(Throwable $error): void
    {
        try {
            $this->tables->connection()->select('select 1');
        } catch (Throwable $away) {
            throw new DatabaseAway($away->getMessage(), 0, $error);
        }
    }

    private function untilDatabaseIsBack(Limits $limits): void
    {
        for ($wait = self::FIRST_WAIT_SECONDS; ! $this->stopping; $wait = min(2 * $wait, self::LONGEST_WAIT_SECONDS)) {
            $this->pause($wait);
            $this->look($limits);
            try {
                $this->tables->connection()->reconnect();
                $this->tables->connection()->select('select 1');
                ($this->say)('the database is back');

                return;
            } catch (Throwable) {
                // Still away.
            }
        }
    }

    /** Whether it is time to end, at most once a tick; and what has to be done now and then. */
    private function look(Limits $limits): void
    {
        $now = microtime(true);
        if ($now - $this->lookedAt < self::TICK_SECONDS) {
            return;
        }
        $this->lookedAt = $now;
        if ($limits->seconds > 0 && $now - $this->startedAt >= $limits->seconds) {
            $this->stop();
        }
        if ($limits->megabytes > 0 && memory_get_usage(true) / 1024 / 1024 >= $limits->megabytes) {
            ($this->say)("more than {$limits->megabytes} MiB in use");
            $this->exitCode = self::EXIT_MEMORY;
            $this->stop();
        }
        if ($this->restartedAt() !== $this->restart) {
            ($this->say)('asked to restart');
            $this->stop();
        }
        if ($now - $this->prunedAt >= self::PRUNE_EVERY_SECONDS) {
            $this->prunedAt = $now;
            try {
                $this->inbox->prune((int) $this->app['config']['whatsapp.consume.inbox_days']);
            } catch (Throwable $error) {
                $this->exceptions->report($error);
            }
        }
    }

    /** What `php artisan queue:restart` leaves for workers. */
    private function restartedAt(): mixed
    {
        try {
            return $this->cache->store()->get(self::RESTART_KEY);
        } catch (Throwable) {
            return $this->restart; // a cache that is away asks for nothing
        }
    }

    private function isEmpty(string $queue): bool
    {
        $asking = $this->connection->channel();
        [, $ready] = $asking->queue_declare($queue, true);
        $asking->close();

        return $ready === 0;
    }

    /** Waits, but not when the end is asked for; keeps the connection alive meanwhile. */
    private function pause(float $seconds): void
    {
        $until = microtime(true) + $seconds;
        while (! $this->stopping && ($left = $until - microtime(true)) > 0) {
            usleep((int) (min($left, 0.2) * 1e6));
            $this->connection?->checkHeartBeat();
        }
    }

    private function close(): void
    {
        try {
            $this->connection?->close();
        } catch (Throwable) {
            // It was gone already.
        }
        $this->connection = $this->letters = null;
    }
}
