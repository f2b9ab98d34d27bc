<?php

namespace Wafleet\Laravel\Broker;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AbstractConnection;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;
use Throwable;
use Wafleet\Laravel\Command;
use Wafleet\Laravel\Exceptions\BrokerUnavailable;
use Wafleet\Laravel\Exceptions\NotConfirmed;
use Wafleet\Laravel\Exceptions\Unroutable;
use Wafleet\Laravel\Signing\Keyring;
use Wafleet\Laravel\Signing\Signature;

/**
 * Signs commands and publishes them: persistent, mandatory, confirmed. Keeps its connection for the next ones.
 *
 * Two commands wait in no window here: all that are given at once are written, then all confirms are awaited.
 */
final class Publisher
{
    /** How many commands may be unconfirmed at a time; more would only fill the broker's buffers. */
    private const WINDOW = 256;

    private ?AbstractConnection $connection = null;

    private ?AMQPChannel $channel = null;

    /** @var array<string, Command> by id: written and not confirmed */
    private array $open = [];

    /** @var array<string, Command> by id: in a queue */
    private array $done = [];

    /** @var array<string, Command> by id: given back by the broker */
    private array $returned = [];

    /** @var array<string, Command> by id: refused by the broker */
    private array $refused = [];

    /** @param callable(): Keyring $keyring */
    public function __construct(private readonly Broker $broker, private $keyring) {}

    /**
     * Returns when every command is in a queue.
     *
     * @param  non-empty-list<Command>  $commands
     */
    public function publish(array $commands): void
    {
        $pending = [];
        foreach ($commands as $command) {
            $pending[$command->id] = $command;
        }
        // A connection that was kept may have died since: then once more on a new one. An id is executed once, so a command
        // that did arrive the first time does no harm.
        $fresh = $this->channel === null;
        try {
            $this->attempt($pending);
        } catch (BrokerUnavailable $error) {
            if ($fresh) {
                throw $error;
            }
            $this->attempt($pending);
        }
    }

    public function close(): void
    {
        try {
            $this->connection?->close();
        } catch (Throwable) {
            // It was gone already.
        }
        $this->connection = $this->channel = null;
    }

    /** @param non-empty-array<string, Command> $pending by id; what the broker has is taken out */
    private function attempt(array &$pending): void
    {
        $this->open = $this->returned = $this->refused = $this->done = [];
        try {
            $channel = $this->channel();
            foreach (array_chunk($pending, self::WINDOW, true) as $window) {
                foreach ($window as $id => $command) {
                    $this->open[$id] = $command;
                    $channel->basic_publish($this->message($command), Signature::COMMANDS, $command->routingKey(), true);
                }
                $channel->wait_for_pending_acks_returns($this->broker->confirmTimeout());
            }
        } catch (AMQPTimeoutException $error) {
            $this->close();
            throw $this->open === []
                ? new BrokerUnavailable("the broker at {$this->broker->address()} does not answer", $this->left($pending), $error)
                : new NotConfirmed("the broker did not confirm within {$this->broker->confirmTimeout()} seconds", $this->left($pending), $error);
        } catch (AMQPProtocolChannelException $error) {
            $this->close();
            throw new Unroutable($error->getCode() === 404
                ? 'the exchange wa.commands does not exist: start a worker of the fleet, or check the virtual host of WHATSAPP_AMQP_URL'
                : "the broker takes no commands from this account: {$error->getMessage()}", $this->left($pending), $error);
        } catch (AMQPExceptionInterface $error) {
            $this->close();
            throw new BrokerUnavailable("the broker at {$this->broker->address()} cannot be used: {$error->getMessage()}", $this->left($pending), $error);
        }
        $left = $this->left($pending);
        if ($this->returned !== []) {
            throw new Unroutable('no queue takes them: the fleet is not set up in this virtual host', $left);
        }
        if ($this->refused !== []) {
            throw new NotConfirmed('the broker refused them', $left);
        }
    }

    /**
     * @param  array<string, Command>  $pending
     * @return list<Command> what of it the broker does not have for sure
     */
    private function left(array &$pending): array
    {
        $pending = array_diff_key($pending, $this->done);

        return array_values($pending);
    }

    private function message(Command $command): AMQPMessage
    {
        $now = now()->getTimestamp();
        $key = ($this->keyring)()->signer($command->workspace, $now);
        $headers = Signature::sign(
            $key, Signature::COMMANDS, $command->type, $command->id, $command->workspace, $command->session, $now, $now + $command->lifetime, $command->body,
        );

        return new AMQPMessage($command->body, [
            'content_type' => Signature::CONTENT_TYPE,
            'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
            'priority' => Command::LANES[$command->lane ?? 'high'],
            'message_id' => $command->id,
            'type' => $command->type,
            'timestamp' => $now,
            'application_headers' => new AMQPTable($headers),
        ]);
    }

    private function channel(): AMQPChannel
    {
        if ($this->channel !== null) {
            return $this->channel;
        }
        $this->connection = $this->broker->connect('laravel publisher');
        $channel = $this->connection->channel();
        $channel->confirm_select();
        $channel->set_return_listener(function ($code, $text, $exchange, $key, AMQPMessage $message) {
            $id = $message->get('message_id');
            $this->returned[$id] = $this->open[$id];
        });
        $channel->set_ack_handler(function (AMQPMessage $message) {
            $id = $message->get('message_id');
            // An unroutable message is confirmed too, after it was returned.
            if (! isset($this->returned[$id])) {
                $this->done[$id] = $this->open[$id];
            }
            unset($this->open[$id]);
        });
        $channel->set_nack_handler(function (AMQPMessage $message) {
            $id = $message->get('message_id');
            $this->refused[$id] = $this->open[$id];
            unset($this->open[$id]);
        });

        return $this->channel = $channel;
    }
}
