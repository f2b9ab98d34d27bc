<?php

namespace Wafleet\Laravel\Console;

use Illuminate\Console\Command;
use Throwable;
use Wafleet\Laravel\Checks\BrokerCheck;
use Wafleet\Laravel\Checks\DatabaseCheck;
use Wafleet\Laravel\Checks\FleetCheck;
use Wafleet\Laravel\Checks\KeyCheck;
use Wafleet\Laravel\Checks\PageCheck;

final class CheckCommand extends Command
{
    protected $signature = 'whatsapp:check
        {--workspace= : The workspace to ask the fleet in; without it whatsapp.workspace, or 1}
        {--session=whatsapp-check : The session to ask the fleet for; it need not exist}
        {--timeout=15 : How many seconds the fleet has for its answer}
        {--offline : Do not ask the fleet}';

    protected $description = 'Find out what keeps this application and the fleet from talking to each other';

    public function handle(): int
    {
        $checks = [KeyCheck::class => [], DatabaseCheck::class => [], PageCheck::class => [], BrokerCheck::class => []];
        if (! $this->option('offline')) {
            $checks[FleetCheck::class] = [
                (int) ($this->option('workspace') ?: $this->laravel['config']['whatsapp.workspace'] ?: 1), $this->option('session'), (float) $this->option('timeout'),
            ];
        }
        $problems = 0;
        $tell = function (bool $fine, string $text) use (&$problems) {
            $problems += $fine ? 0 : 1;
            $this->line($fine ? "<info>ok</info>       {$text}" : "<error>problem</error>  {$text}");
        };
        foreach ($checks as $check => $arguments) {
            try {
                foreach ($this->laravel->make($check)->run(...$arguments) as [$fine, $text]) {
                    $tell($fine, $text);
                }
            } catch (Throwable $error) {
                $tell(false, $error->getMessage());
            }
        }
        $this->line($problems === 0 ? 'Everything is as it should be.' : ($problems === 1 ? 'One problem.' : "{$problems} problems."));

        return $problems === 0 ? 0 : 1;
    }
}
