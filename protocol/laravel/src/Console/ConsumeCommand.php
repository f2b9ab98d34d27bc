<?php

namespace Wafleet\Laravel\Console;

use Illuminate\Console\Command;
use RuntimeException;
use Wafleet\Laravel\Broker\Consumer;
use Wafleet\Laravel\Broker\Limits;
use Wafleet\Laravel\Exceptions\InvalidKeyring;

final class ConsumeCommand extends Command
{
    protected $signature = 'whatsapp:consume
        {--queue= : Another queue than whatsapp.queue.name}
        {--prefetch= : How many events the broker hands over ahead}
        {--max-messages=0 : End after this many events}
        {--max-time=0 : End after this many seconds}
        {--memory= : End when more MiB than this are in use}
        {--stop-when-empty : End when the queue is empty}
        {--force : Go on in maintenance mode}';

    protected $description = 'Verify the events of the fleet and hand them to your listeners and pages';

    public function handle(): int
    {
        $config = $this->laravel['config']['whatsapp'];
        try {
            $consumer = $this->laravel->make(Consumer::class);
            $this->listenForSignals($consumer);

            return $consumer->run(
                $this->option('queue') ?: $config['queue']['name'],
                (int) ($this->option('prefetch') ?: $config['consume']['prefetch']),
                new Limits(
                    (int) $this->option('max-messages'), (int) $this->option('max-time'),
                    (int) ($this->option('memory') ?: $config['consume']['memory']), (bool) $this->option('stop-when-empty'),
                ),
                fn (string $line) => $this->line('['.now()->format('Y-m-d H:i:s').'] '.$line),
                (bool) $this->option('force'),
            );
        } catch (InvalidKeyring|RuntimeException|\InvalidArgumentException $error) {
            $this->error($error->getMessage());

            return 1;
        }
    }

    private function listenForSignals(Consumer $consumer): void
    {
        if (extension_loaded('pcntl')) {
            pcntl_async_signals(true);
            foreach ([SIGTERM, SIGINT, SIGQUIT] as $signal) {
                pcntl_signal($signal, fn () => $consumer->stop());
            }
        }
    }
}
