<?php

namespace Wafleet\Laravel\Testing;

use Illuminate\Contracts\Config\Repository;
use Illuminate\Contracts\Events\Dispatcher;
use PHPUnit\Framework\Assert;
use Wafleet\Laravel\Command;
use Wafleet\Laravel\Contracts\Client;
use Wafleet\Laravel\Events\EventTypes;
use Wafleet\Laravel\FindsSessions;
use Wafleet\Laravel\Inbox\Envelope;

/** Takes the place of the broker in your tests: `WhatsApp::fake()`. What is no valid command is refused as ever. */
final class FakeClient implements Client
{
    use FindsSessions;

    /** @var list<Command> */
    private array $published = [];

    private int $received = 0;

    public function __construct(private readonly Repository $config, private readonly Dispatcher $events) {}

    public function publish(Command|iterable $commands): void
    {
        array_push($this->published, ...($commands instanceof Command ? [$commands] : $commands));
    }

    /**
     * Lets the fleet tell something: your listeners get the event, no table and no broker is needed.
     *
     * @param  string  $type  such as `message.received`
     * @param  array<string, mixed>  $data  the event's data as on the wire
     * @param  array<string, mixed>  $envelope  workspace_id, session_id, correlation_id, metadata
     */
    public function receive(string $type, array $data = [], array $envelope = []): void
    {
        $seq = ++$this->received;
        $this->events->dispatch(EventTypes::event(new Envelope(
            sprintf('01FAKE%020d', $seq), $type, Envelope::VERSION, $envelope['workspace_id'] ?? 1, $envelope['session_id'] ?? 'fake', 'fake', 1, $seq,
            now()->toImmutable()->utc(), $envelope['correlation_id'] ?? null, $envelope['metadata'] ?? null, $data,
        )));
    }

    /** @return list<Command> */
    public function published(?string $type = null, ?callable $matches = null): array
    {
        return array_values(array_filter(
            $this->published,
            fn (Command $command) => ($type === null || $command->type === $type) && ($matches === null || $matches($command)),
        ));
    }

    public function assertPublished(string $type, ?callable $matches = null): void
    {
        Assert::assertNotEmpty($this->published($type, $matches), "No {$type} was published".($matches ? ' that matches.' : '.').$this->others());
    }

    public function assertPublishedTimes(string $type, int $times): void
    {
        $published = count($this->published($type));
        Assert::assertSame($times, $published, "{$type} was published {$published} times instead of {$times}.");
    }

    public function assertNotPublished(string $type, ?callable $matches = null): void
    {
        Assert::assertEmpty($this->published($type, $matches), "{$type} was published.");
    }

    public function assertNothingPublished(): void
    {
        Assert::assertEmpty($this->published, 'Something was published.'.$this->others());
    }

    private function others(): string
    {
        return $this->published === [] ? '' : ' Published: '.implode(', ', array_map(fn (Command $command) => $command->type, $this->published)).'.';
    }

    protected function config(): Repository
    {
        return $this->config;
    }
}
