<?php

namespace Wafleet\Laravel\Signing;

use SensitiveParameter;

/** One signing key: who may say what, for which workspaces, until when. */
final class Key
{
    /**
     * @param  'commands'|'events'|'ops'  $role
     * @param  list<int>|null  $workspaces  null is every workspace
     * @param  int|null  $notAfter  unix seconds
     */
    public function __construct(
        public readonly string $id,
        public readonly string $role,
        #[SensitiveParameter] private readonly string $secret,
        public readonly ?array $workspaces = null,
        public readonly ?int $notAfter = null,
    ) {}

    /** The HMAC of a canonical string, as 32 bytes. */
    public function tag(string $canonical): string
    {
        return hash_hmac('sha256', $canonical, $this->secret, true);
    }

    public function isValidAt(int $now): bool
    {
        return $this->notAfter === null || $now <= $this->notAfter;
    }

    public function covers(int $workspace): bool
    {
        return $this->workspaces === null || in_array($workspace, $this->workspaces, true);
    }

    /** Keeps the secret out of dumps. */
    public function __debugInfo(): array
    {
        return ['id' => $this->id, 'role' => $this->role, 'workspaces' => $this->workspaces, 'notAfter' => $this->notAfter];
    }
}
