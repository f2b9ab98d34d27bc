<?php

namespace Wafleet\Laravel\Host;

use Illuminate\Contracts\Config\Repository;

/** Brings the host's schema to what the fleet and this package need, step by step, with a journal that can be gone back through. */
final class HostMigration
{
    public const JOURNAL = 'whatsapp_host_steps';

    public function __construct(private readonly Database $database, private readonly Repository $config) {}

    public function naming(?string $name): Naming
    {
        return $name === null ? Naming::found($this->database) : Naming::of($name);
    }

    /**
     * What there is to do, by the step's name. Changes nothing.
     *
     * @return array<string, string>
     */
    public function plan(Naming $naming, int $batch, bool $plaintext): array
    {
        $this->mustHave($naming);

        return array_filter(array_map(fn (Step $step) => $step->plan(), $this->steps($naming, $batch, $plaintext)));
    }

    /**
     * Does what there is to do. Ended anywhere, it goes on the next time.
     *
     * @param  callable(string, string, int, int): void  $tell  step, what it does, done, total
     *
     * @throws Blocked when a step cannot be done as things are
     */
    public function apply(Naming $naming, int $batch, bool $plaintext, bool $allowLocks, callable $tell): void
    {
        $this->mustHave($naming);
        $this->alone();
        $this->database->allowLocks = $allowLocks;
        $this->database->connection()->statement(
            'CREATE TABLE IF NOT EXISTS '.self::JOURNAL.' (`position` INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, `step` VARCHAR(128) NOT NULL UNIQUE, `state` VARCHAR(16) NOT NULL,
             `kept` LONGTEXT NOT NULL, `done` BIGINT UNSIGNED NOT NULL, `total` BIGINT UNSIGNED NOT NULL, `at` DATETIME(3) NOT NULL) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4'
        );
        foreach ($this->steps($naming, $batch, $plaintext) as $name => $step) {
            $noted = $this->journal()->where('step', $name)->first();
            $what = $step->plan();
            if ($what === null && $noted?->state !== 'running') {
                continue;
            }
            $kept = json_decode($noted->kept ?? '[]', true);
            $keep = function (array $kept, int $done, int $total) use ($name, $what, $tell) {
                $this->note($name, 'running', $kept, $done, $total);
                $tell($name, $what ?? $name, $done, $total);
            };
            $kept = $step->apply($kept, $keep);
            $last = $this->journal()->where('step', $name)->first();
            $this->note($name, 'done', $kept, (int) ($last->total ?? 1), (int) ($last->total ?? 1));
        }
    }

    /** @return list<object> the journal: step, state, done, total, at */
    public function journalled(): array
    {
        return $this->database->isTable(self::JOURNAL) ? $this->journal()->orderBy('position')->get(['step', 'state', 'done', 'total', 'at'])->all() : [];
    }

    /**
     * Undoes everything in the journal, the last first.
     *
     * @param  callable(string): void  $tell
     */
    public function rollback(Naming $naming, int $batch, bool $allowLocks, callable $tell): void
    {
        $this->alone();
        $this->database->allowLocks = $allowLocks;
        $steps = $this->steps($naming, $batch, true);
        foreach (array_reverse($this->journalled()) as $row) {
            if (! isset($steps[$row->step])) {
                throw new Blocked("the journal has a step {$row->step} that is not of this naming: name the one it was done with by --naming");
            }
            $tell($row->step);
            $steps[$row->step]->undo(json_decode((string) $this->journal()->where('step', $row->step)->value('kept'), true));
            $this->journal()->where('step', $row->step)->delete();
        }
        $this->database->connection()->statement('DROP TABLE IF EXISTS '.self::JOURNAL);
    }

    /** @return array<string, Step> by name, in order */
    private function steps(Naming $naming, int $batch, bool $plaintext): array
    {
        $credentials = fn () => SealedCredentials::fromConfig($this->config->get('whatsapp'));
        $schema = new Schema($this->database, $naming);
        $steps = [
            ...$schema->steps(),
            // Without a key there is nothing to seal with, and without Meta numbers no need for one.
            ...($this->hasMetaNumbers() ? [new MetaNumbers($this->database, $naming, $credentials())] : []),
            new MetaChats($this->database, $naming, $batch),
            ...$schema->lastSteps(),
            ...($plaintext && $this->hasMetaNumbers($naming) ? [new MetaPlaintext($this->database, $naming, $credentials())] : []),
        ];

        return array_combine(array_map(fn (Step $step) => $step->name(), $steps), $steps);
    }

    private function hasMetaNumbers(?Naming $naming = null): bool
    {
        $path = '$.'.MetaNumbers::PATH;
        $inMetadata = $this->database->hasColumn('workspaces', 'metadata')
            && $this->database->value("SELECT 1 AS v FROM workspaces WHERE JSON_VALID(metadata) AND JSON_EXTRACT(metadata, '{$path}') IS NOT NULL LIMIT 1") !== null;

        return $inMetadata || ($naming !== null && $this->database->isTable(self::JOURNAL) && $this->journal()->where('step', 'meta.plaintext')->exists());
    }

    /** Until this process's connection ends. */
    private function alone(): void
    {
        if ((int) $this->database->value("SELECT GET_LOCK('whatsapp_host', 0) AS v") !== 1) {
            throw new Blocked('another process is changing the schema right now');
        }
    }

    private function mustHave(Naming $naming): void
    {
        if (! $this->database->isTable($naming->table)) {
            throw new Blocked("there is no table {$naming->table}: run php artisan migrate first, or choose the other --naming");
        }
    }

    private function note(string $step, string $state, array $kept, int $done, int $total): void
    {
        $values = ['state' => $state, 'kept' => json_encode($kept, JSON_THROW_ON_ERROR), 'done' => $done, 'total' => $total, 'at' => now('UTC')->format('Y-m-d H:i:s.v')];
        $this->journal()->updateOrInsert(['step' => $step], $values);
    }

    private function journal()
    {
        return $this->database->connection()->table(self::JOURNAL);
    }
}
