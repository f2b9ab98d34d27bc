<?php

namespace Wafleet\Laravel\Checks;

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use Wafleet\Laravel\Broker\Broker;
use Wafleet\Laravel\Broker\Publisher;
use Wafleet\Laravel\Command;
use Wafleet\Laravel\Exceptions\NotPublished;
use Wafleet\Laravel\Inbox\Envelope;
use Wafleet\Laravel\Signing\Keyring;
use Wafleet\Laravel\Signing\Rejected;
use Wafleet\Laravel\Signing\Signature;

/**
 * Asks the fleet for the status of a session, and says in plain words what the answer means, or why there is none: a key
 * that the fleet does not know, a secret that differs, a clock that is wrong.
 */
final class FleetCheck
{
    private const DEAD_LETTERS = 'wa.dead';

    /** A difference of clocks that is worth a word, in seconds. */
    private const CLOCK_TOLERANCE = 5;

    /** What the fleet says to a command that it does not execute, in words for the one who sent it. */
    private const REFUSALS = [
        'unknown_key' => 'the fleet does not know the key this application signs with (%s): add it to the fleet\'s key ring, or correct WHATSAPP_COMMAND_KEYS',
        'bad_signature' => 'the fleet has another secret under the id of our key (%s): copy the secret from the fleet\'s key ring',
        'key_expired' => 'the key this application signs with (%s) has ended in the fleet\'s key ring: sign with its successor',
        'wrong_role' => 'the key this application signs with (%s) has another role than commands in the fleet\'s key ring',
        'foreign_scope' => 'the key this application signs with (%s) may not speak for workspace %d',
        'issued_in_future' => 'this machine\'s clock is more than five minutes ahead of the fleet\'s: set the clocks by NTP',
        'expired' => 'this machine\'s clock is more than five minutes behind the fleet\'s: set the clocks by NTP',
    ];

    /** @var list<AMQPMessage> */
    private array $heard = [];

    public function __construct(private readonly Broker $broker, private readonly Publisher $publisher, private readonly Keyring $keyring) {}

    /** @return iterable<array{bool, string}> */
    public function run(int $workspace, string $session, float $timeout): iterable
    {
        $connection = $this->broker->connect('laravel check');
        $channel = $connection->channel();
        [$queue] = $channel->queue_declare('', false, false, true, true);
        $channel->queue_bind($queue, Signature::EVENTS, "workspace.{$workspace}.session.{$session}.#");
        $seesDeadLetters = $this->mayBind($connection->channel(), $queue);
        $channel->basic_consume($queue, '', false, true, true, false, function (AMQPMessage $message) {
            $this->heard[] = $message;
        });
        $command = Command::control('session.status', $workspace, $session);
        try {
            $this->publisher->publish([$command]);
        } catch (NotPublished $error) {
            yield [false, $error->getMessage()];

            return;
        }
        $key = $this->keyring->signer($workspace, now()->getTimestamp())->id;
        $findings = null;
        for ($until = microtime(true) + $timeout; $findings === null && ($left = $until - microtime(true)) > 0;) {
            try {
                $channel->wait(null, false, $left);
            } catch (AMQPTimeoutException) {
                break;
            }
            while ($findings === null && ($message = array_shift($this->heard))) {
                $findings = $this->judge($message, $command, $key);
            }
        }
        $connection->close();
        yield from $findings ?? [[false, "the fleet did not answer within {$timeout} seconds: ".($seesDeadLetters
            ? 'no worker is running, or it is busy'
            : 'no worker is running, or it refuses our key; `wafleet dlq list` shows what it refused')]];
    }

    /** On a channel of its own, which a refusal closes: not every account may look at dead letters. */
    private function mayBind(AMQPChannel $channel, string $queue): bool
    {
        try {
            $channel->queue_bind($queue, self::DEAD_LETTERS, '#');

            return true;
        } catch (AMQPProtocolChannelException) {
            return false;
        }
    }

    /** @return list<array{bool, string}>|null null: it is about something else */
    private function judge(AMQPMessage $message, Command $command, string $key): ?array
    {
        $headers = $message->has('application_headers') ? $message->get('application_headers')->getNativeData() : [];
        $reason = $headers['x-wa-reason'] ?? null;
        if ($message->getExchange() === self::DEAD_LETTERS) {
            return $message->has('message_id') && $message->get('message_id') === $command->id
                ? [[false, sprintf(self::REFUSALS[$reason] ?? "the fleet refused our command: {$reason}", $key, $command->workspace)]]
                : null;
        }
        try {
            $properties = array_intersect_key($message->get_properties(), ['type' => 1, 'message_id' => 1, 'content_type' => 1]);
            $verified = Signature::verify($this->keyring, $properties, $headers, $message->getBody(), Signature::EVENTS, now()->getTimestamp());
            $event = Envelope::parse($message->getBody(), $verified);
        } catch (Rejected $rejected) {
            $theirs = is_string($headers['x-wa-key'] ?? null) ? $headers['x-wa-key'] : '?';

            return [[false, match ($rejected->reason) {
                'unknown_key' => "the fleet signs events with the key {$theirs}, which is not in our ring: add it to WHATSAPP_EVENT_KEYS",
                'bad_signature' => "our secret of the fleet's key {$theirs} is another one: copy it from the fleet's key ring",
                'issued_in_future' => 'this machine\'s clock is more than five minutes behind the fleet\'s: set the clocks by NTP',
                default => "an event of the fleet cannot be verified: {$rejected->getMessage()}",
            }]];
        }
        if ($event->correlationId !== $command->id || $event->type !== 'command.result') {
            return null;
        }
        if (in_array($event->get('error.code'), ['rejected', 'expired'], true)) {
            [$reason] = explode(':', (string) $event->get('error.message'));

            return [[false, sprintf(self::REFUSALS[$reason] ?? "the fleet refused our command: {$event->get('error.message')}", $key, $command->workspace)]];
        }
        $ahead = now()->getTimestampMs() - $event->occurredAt->getTimestampMs();
        $seconds = intdiv((int) abs($ahead), 1000);

        return [
            [true, "the fleet answers (worker {$event->workerId}) and our keys fit"],
            $seconds <= self::CLOCK_TOLERANCE
                ? [true, 'this machine and the fleet agree about the time']
                : [false, "this machine's clock is {$seconds} seconds ".($ahead > 0 ? 'ahead of' : 'behind').' the fleet\'s: commands are refused from five minutes on. Set the clocks by NTP'],
        ];
    }
}
