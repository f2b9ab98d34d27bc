<?php

namespace Wafleet\Laravel\Host;

/**
 * Chats of before belong to the Meta number of their workspace. In batches, each one transaction with its place in the
 * journal: ended anywhere, it goes on where it was.
 */
final class MetaChats extends Step
{
    public function __construct(Database $database, Naming $naming, private readonly int $batch)
    {
        parent::__construct($database, $naming);
    }

    public function name(): string
    {
        return 'chats.meta';
    }

    public function plan(): ?string
    {
        if (! $this->database->isTable('chats') || ! $this->database->hasColumn('workspaces', 'metadata')) {
            return null;
        }
        // Before the first steps there is neither column nor row: then by what they will make.
        $ready = $this->database->hasColumn('chats', $this->naming->column);
        $path = '$.'.MetaNumbers::PATH.'.'.MetaNumbers::TOKEN;
        $count = (int) ($ready
            ? $this->database->value("SELECT COUNT(*) AS v FROM chats AS c WHERE c.`{$this->naming->column}` IS NULL AND {$this->isMeta()} AND (
                EXISTS (SELECT 1 FROM `{$this->naming->table}` AS s WHERE s.workspace_id = c.workspace_id AND s.provider_type = 'meta')
                OR EXISTS (SELECT 1 FROM workspaces AS w WHERE w.id = c.workspace_id AND JSON_VALID(w.metadata) AND JSON_UNQUOTE(JSON_EXTRACT(w.metadata, '{$path}')) NOT IN ('', 'null')))")
            : $this->database->value("SELECT COUNT(*) AS v FROM chats AS c JOIN workspaces AS w ON w.id = c.workspace_id WHERE JSON_VALID(w.metadata) AND JSON_UNQUOTE(JSON_EXTRACT(w.metadata, '{$path}')) NOT IN ('', 'null')"));

        return $count > 0 ? "{$count} chats are given to the Meta number of their workspace, {$this->batch} at a time" : null;
    }

    public function apply(array $kept, callable $keep): array
    {
        $kept += ['last' => (int) $this->database->value('SELECT COALESCE(MAX(id), 0) AS v FROM chats'), 'at' => 0, 'changed' => 0];
        while ($kept['at'] < $kept['last']) {
            $this->database->connection()->transaction(function () use (&$kept, $keep) {
                $to = min($kept['at'] + $this->batch, $kept['last']);
                $kept['changed'] += $this->database->connection()->update(
                    "UPDATE chats AS c JOIN (SELECT workspace_id, MIN(id) AS id FROM `{$this->naming->table}` WHERE provider_type = 'meta' GROUP BY workspace_id) AS s ON s.workspace_id = c.workspace_id
                     SET c.`{$this->naming->column}` = s.id WHERE c.`{$this->naming->column}` IS NULL AND {$this->isMeta()} AND c.id > ? AND c.id <= ?", [$kept['at'], $to],
                );
                $kept['at'] = $to;
                $keep($kept, $kept['at'], $kept['last']);
            });
        }

        return $kept;
    }

    public function undo(array $kept): void
    {
        for ($at = 0; $at < ($kept['at'] ?? 0); $at += $this->batch) {
            $this->database->connection()->update(
                "UPDATE chats AS c JOIN `{$this->naming->table}` AS s ON s.id = c.`{$this->naming->column}` AND s.provider_type = 'meta'
                 SET c.`{$this->naming->column}` = NULL WHERE c.id > ? AND c.id <= ?", [$at, min($at + $this->batch, $kept['at'])],
            );
        }
    }

    /** A chat that says it went through a browser is not Meta's. */
    private function isMeta(): string
    {
        return $this->database->hasColumn('chats', 'provider_type') ? "(c.provider_type IS NULL OR c.provider_type = 'meta')" : '1 = 1';
    }
}
