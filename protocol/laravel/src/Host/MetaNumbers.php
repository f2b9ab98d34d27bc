<?php

namespace Wafleet\Laravel\Host;

use Illuminate\Support\Str;
use RuntimeException;

/**
 * The Meta number of a workspace becomes a row like every other number, with its credentials sealed. What the workspace's
 * metadata has stays where it is, so that the application goes on as before.
 */
final class MetaNumbers extends Step
{
    /** Where applications of this schema keep what Meta gave them. */
    public const PATH = 'whatsapp';

    public const TOKEN = 'access_token';

    public const PROVIDER = 'meta';

    public function __construct(Database $database, Naming $naming, private readonly SealedCredentials $credentials)
    {
        parent::__construct($database, $naming);
    }

    public function name(): string
    {
        return 'meta.numbers';
    }

    public function plan(): ?string
    {
        $count = count($this->todo());

        return $count > 0 ? "{$count} workspaces with Meta credentials get a row in {$this->naming->table}, the credentials sealed" : null;
    }

    public function apply(array $kept, callable $keep): array
    {
        $todo = $this->todo();
        $kept += ['rows' => []];
        $total = count($todo) + count($kept['rows']);
        foreach ($todo as $workspace) {
            $this->database->connection()->transaction(function () use ($workspace, &$kept, $keep, $total) {
                $kept['rows'][] = $this->insert($workspace);
                $keep($kept, count($kept['rows']), $total);
            });
        }

        return $kept;
    }

    public function undo(array $kept): void
    {
        foreach (array_chunk($kept['rows'] ?? [], 500) as $ids) {
            $this->database->connection()->table($this->naming->table)->whereIn('id', $ids)->delete();
        }
    }

    /** @return list<object> workspaces with credentials and without a row */
    private function todo(): array
    {
        if (! $this->database->isTable('workspaces') || ! $this->database->hasColumn('workspaces', 'metadata') || ! $this->database->isTable($this->naming->table)) {
            return [];
        }
        $path = '$.'.self::PATH.'.'.self::TOKEN;

        return $this->database->connection()->select(
            "SELECT w.* FROM workspaces AS w WHERE JSON_VALID(w.metadata) AND JSON_UNQUOTE(JSON_EXTRACT(w.metadata, '{$path}')) NOT IN ('', 'null')
             AND NOT EXISTS (SELECT 1 FROM `{$this->naming->table}` AS s WHERE s.workspace_id = w.id AND s.provider_type = ?) ORDER BY w.id", [self::PROVIDER],
        );
    }

    private function insert(object $workspace): int
    {
        $credentials = json_decode($workspace->metadata, true, 512, JSON_THROW_ON_ERROR)[self::PATH];
        $phone = preg_replace('/\D/', '', (string) ($credentials['display_phone_number'] ?? ''));
        $uuid = (string) Str::uuid();
        $now = now('UTC')->format('Y-m-d H:i:s');
        $row = [
            'uuid' => $uuid, 'workspace_id' => $workspace->id, 'session_id' => "meta-{$uuid}", 'phone_number' => $phone === '' ? null : $phone, 'provider_type' => self::PROVIDER,
            'status' => 'connected', 'session_data' => $this->credentials->seal($credentials), 'is_primary' => 1, 'is_active' => 1,
            'created_by' => $workspace->created_by ?? null, 'created_at' => $now, 'updated_at' => $now,
        ];
        $table = $this->database->connection()->table($this->naming->table);
        $id = (int) (clone $table)->insertGetId(array_filter($row, fn ($column) => $this->database->hasColumn($this->naming->table, $column), ARRAY_FILTER_USE_KEY));
        if ($this->credentials->open((clone $table)->where('id', $id)->value('session_data')) != $credentials) {
            throw new RuntimeException("what was sealed for workspace {$workspace->id} does not open to what it was");
        }

        return $id;
    }
}
