<?php

namespace Wafleet\Laravel;

use Illuminate\Contracts\Config\Repository;
use Illuminate\Database\DatabaseManager;
use Wafleet\Laravel\Broker\Publisher;
use Wafleet\Laravel\Contracts\Client;
use Wafleet\Laravel\Exceptions\NotPublished;
use Wafleet\Laravel\Inbox\Messages;

/** Commands to a real broker, after the commit of the transaction they were made in. */
final class BrokerClient implements Client
{
    use FindsSessions;

    /** @var list<array{level: int, command: Command}> commands that wait for a commit, with the depth of their transaction */
    private array $waiting = [];

    public function __construct(
        private readonly Publisher $publisher,
        private readonly Messages $messages,
        private readonly DatabaseManager $database,
        private readonly Repository $config,
    ) {}

    public function publish(Command|iterable $commands): void
    {
        $commands = $commands instanceof Command ? [$commands] : [...$commands];
        if ($commands === []) {
            return;
        }
        $this->messages->queued($commands);
        $level = $this->config->get('whatsapp.after_commit') ? $this->level() : 0;
        if ($level > 0) {
            array_push($this->waiting, ...array_map(fn (Command $command) => ['level' => $level, 'command' => $command], $commands));
        } else {
            $this->send($commands);
        }
    }

    /** A transaction began. What waits although it is the outermost one belongs to one that broke off with its connection. */
    public function began(string $connection): void
    {
        if ($this->waiting !== [] && $connection === $this->connection() && $this->level() === 1) {
            $this->waiting = [];
        }
    }

    /** A transaction was committed: what was made in it belongs to the one around it, or goes out. */
    public function committed(string $connection): void
    {
        if ($this->waiting === [] || $connection !== $this->connection()) {
            return;
        }
        $level = $this->level();
        foreach ($this->waiting as &$waiting) {
            $waiting['level'] = min($waiting['level'], $level);
        }
        unset($waiting);
        if ($level === 0) {
            $commands = array_column($this->waiting, 'command');
            $this->waiting = [];
            $this->send($commands);
        }
    }

    /** A transaction was rolled back: what was made in it never happened. */
    public function rolledBack(string $connection): void
    {
        if ($this->waiting !== [] && $connection === $this->connection()) {
            $level = $this->level();
            $this->waiting = array_values(array_filter($this->waiting, fn (array $waiting) => $waiting['level'] <= $level));
        }
    }

    /** @param non-empty-list<Command> $commands */
    private function send(array $commands): void
    {
        try {
            $this->publisher->publish($commands);
        } catch (NotPublished $error) {
            $this->messages->notPublished($error->commands, $error->getMessage());
            throw $error;
        }
    }

    private function level(): int
    {
        return $this->database->connection($this->connection())->transactionLevel();
    }

    private function connection(): string
    {
        return $this->config->get('whatsapp.connection') ?? $this->database->getDefaultConnection();
    }

    protected function config(): Repository
    {
        return $this->config;
    }
}
