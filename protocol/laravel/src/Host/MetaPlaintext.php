<?php

namespace Wafleet\Laravel\Host;

/**
 * Takes the secrets out of the workspaces' metadata, where every query brings them along. For when the application reads
 * them by `$session->credentials()`. Each is compared with what is sealed first, and sealed anew if it was changed since.
 */
final class MetaPlaintext extends Step
{
    private const SECRETS = ['access_token', 'app_secret', 'verify_token'];

    public function __construct(Database $database, Naming $naming, private readonly SealedCredentials $credentials)
    {
        parent::__construct($database, $naming);
    }

    public function name(): string
    {
        return 'meta.plaintext';
    }

    public function plan(): ?string
    {
        $count = count($this->todo());

        return $count > 0 ? 'the secrets of '.$count.' workspaces leave their metadata ('.implode(', ', self::SECRETS).'); everything else there stays' : null;
    }

    public function apply(array $kept, callable $keep): array
    {
        $todo = $this->todo();
        $kept += ['workspaces' => []];
        $total = count($todo) + count($kept['workspaces']);
        foreach ($todo as $workspace) {
            $this->database->connection()->transaction(function () use ($workspace, &$kept, $keep, $total) {
                $metadata = (string) $this->database->connection()->table('workspaces')->where('id', $workspace->id)->lockForUpdate()->value('metadata');
                $plain = json_decode($metadata, true, 512, JSON_THROW_ON_ERROR)[MetaNumbers::PATH];
                $row = $this->database->connection()->table($this->naming->table)->where('id', $workspace->number);
                if ($this->credentials->open((clone $row)->value('session_data')) != $plain) {
                    (clone $row)->update(['session_data' => $this->credentials->seal($plain)]);
                }
                $secrets = array_keys(array_intersect_key($plain, array_flip(self::SECRETS)));
                $paths = implode(', ', array_map(fn ($secret) => "'$.".MetaNumbers::PATH.".{$secret}'", $secrets));
                $this->database->connection()->update("UPDATE workspaces SET metadata = JSON_REMOVE(metadata, {$paths}) WHERE id = ?", [$workspace->id]);
                $kept['workspaces'][] = [$workspace->id, $workspace->number, $secrets];
                $keep($kept, count($kept['workspaces']), $total);
            });
        }

        return $kept;
    }

    public function undo(array $kept): void
    {
        foreach ($kept['workspaces'] ?? [] as [$workspace, $number, $secrets]) {
            $sealed = $this->credentials->open($this->database->connection()->table($this->naming->table)->where('id', $number)->value('session_data'));
            foreach ($secrets as $secret) {
                $this->database->connection()->update(
                    "UPDATE workspaces SET metadata = JSON_SET(metadata, '$.".MetaNumbers::PATH.".{$secret}', ?) WHERE id = ?", [$sealed[$secret], $workspace],
                );
            }
        }
    }

    /** @return list<object> id of the workspace, number of its row */
    private function todo(): array
    {
        if (! $this->database->isTable('workspaces') || ! $this->database->hasColumn('workspaces', 'metadata') || ! $this->database->hasColumn($this->naming->table, 'session_data')) {
            return [];
        }
        $path = '$.'.MetaNumbers::PATH.'.'.MetaNumbers::TOKEN;

        return $this->database->connection()->select(
            "SELECT w.id, MIN(s.id) AS number FROM workspaces AS w JOIN `{$this->naming->table}` AS s ON s.workspace_id = w.id AND s.provider_type = 'meta' AND s.session_data IS NOT NULL
             WHERE JSON_VALID(w.metadata) AND JSON_EXTRACT(w.metadata, '{$path}') IS NOT NULL GROUP BY w.id ORDER BY w.id"
        );
    }
}
