<?php

namespace Wafleet\Laravel\Console;

use Illuminate\Console\Command;
use RuntimeException;
use Wafleet\Laravel\Host\HostMigration;

final class HostCommand extends Command
{
    protected $signature = 'whatsapp:host
        {action=plan : plan, apply, status or rollback}
        {--naming= : sessions or accounts; without it, what the tables say}
        {--batch=2000 : Rows of chats that are looked at in one transaction}
        {--allow-locks : Change tables with a lock where the server cannot do without}
        {--remove-plaintext : Take the sealed Meta secrets out of workspaces.metadata as well}';

    protected $description = 'Bring an existing schema of chats, campaigns and Meta numbers to what the fleet needs, and back';

    public function handle(HostMigration $migration): int
    {
        $action = $this->argument('action');
        $batch = max(1, (int) $this->option('batch'));
        try {
            $naming = $migration->naming($this->option('naming'));
            switch ($action) {
                case 'plan':
                    $plan = $migration->plan($naming, $batch, (bool) $this->option('remove-plaintext'));
                    foreach ($plan as $step => $what) {
                        $this->line(sprintf('%-42s %s', $step, $what));
                    }
                    $this->line($plan === [] ? 'There is nothing to do.' : count($plan).' steps. Nothing was changed: php artisan whatsapp:host apply does it.');

                    return 0;
                case 'apply':
                    $migration->apply($naming, $batch, (bool) $this->option('remove-plaintext'), (bool) $this->option('allow-locks'), function ($step, $what, $done, $total) {
                        $this->line(sprintf('%-42s %d of %d: %s', $step, $done, $total, $what));
                    });
                    $this->info('Done. php artisan whatsapp:host rollback takes it back.');

                    return 0;
                case 'status':
                    foreach ($migration->journalled() as $row) {
                        $this->line(sprintf('%-42s %-8s %d of %d  %s', $row->step, $row->state, $row->done, $row->total, $row->at));
                    }

                    return 0;
                case 'rollback':
                    $migration->rollback($naming, $batch, (bool) $this->option('allow-locks'), fn ($step) => $this->line("taken back: {$step}"));

                    return 0;
            }
            $this->error("{$action} is none of plan, apply, status, rollback");
        } catch (RuntimeException|\InvalidArgumentException $error) {
            $this->error($error->getMessage());
        }

        return 1;
    }
}
