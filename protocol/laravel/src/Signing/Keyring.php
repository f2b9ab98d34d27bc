<?php

namespace Wafleet\Laravel\Signing;

use SensitiveParameter;
use Wafleet\Laravel\Exceptions\InvalidKeyring;

/** The keys an application has: the first valid one of the role `commands` signs, all of the role `events` verify. */
final class Keyring
{
    private const ROLES = ['commands', 'events', 'ops'];

    /** @var array<string, Key> by id, in order */
    private array $keys = [];

    /** @param iterable<Key> $keys */
    public function __construct(iterable $keys)
    {
        foreach ($keys as $key) {
            if (isset($this->keys[$key->id])) {
                throw new InvalidKeyring("the key id {$key->id} occurs twice");
            }
            $this->keys[$key->id] = $key;
        }
    }

    /** From the configuration `whatsapp`: a file in the fleet's format, or the keys themselves. */
    public static function fromConfig(#[SensitiveParameter] array $config): self
    {
        if ($file = $config['keyring_file'] ?? null) {
            $text = @file_get_contents($file);
            if ($text === false) {
                throw new InvalidKeyring("WHATSAPP_KEYRING_FILE: {$file} cannot be read");
            }

            return self::parse($text);
        }
        $keys = [...self::pairs('commands', $config['command_keys'] ?? ''), ...self::pairs('events', $config['event_keys'] ?? '')];
        if ($keys === []) {
            throw new InvalidKeyring('there are no keys: set WHATSAPP_KEYRING_FILE, or WHATSAPP_COMMAND_KEYS and WHATSAPP_EVENT_KEYS');
        }

        return new self($keys);
    }

    /** From JSON `{"keys": [{"id", "role", "secret", "workspaces", "not_after"}]}`. Errors name the key and never the secret. */
    public static function parse(#[SensitiveParameter] string $json): self
    {
        $ring = json_decode($json, true);
        if (! is_array($ring) || ! is_array($ring['keys'] ?? null) || $ring['keys'] === []) {
            throw new InvalidKeyring('a key ring is JSON of the form {"keys": [...]} with at least one key');
        }
        $keys = [];
        foreach (array_values($ring['keys']) as $at => $key) {
            $id = $key['id'] ?? null;
            $role = $key['role'] ?? null;
            if (! is_string($id) || ! preg_match('/\A[A-Za-z0-9._-]{1,64}\z/', $id)) {
                throw new InvalidKeyring("keys[{$at}].id is missing or holds a character outside A-Za-z0-9._-");
            }
            if (! in_array($role, self::ROLES, true)) {
                throw new InvalidKeyring("key {$id}: the role must be commands, events or ops");
            }
            $workspaces = $key['workspaces'] ?? null;
            if ($workspaces !== ['*'] && (! is_array($workspaces) || $workspaces === [] || $workspaces !== array_filter($workspaces, 'is_int'))) {
                throw new InvalidKeyring("key {$id}: workspaces must be [\"*\"] or a list of workspace ids");
            }
            $notAfter = $key['not_after'] ?? null;
            if ($notAfter !== null && (! is_string($notAfter) || ($notAfter = strtotime($notAfter)) === false)) {
                throw new InvalidKeyring("key {$id}: not_after is no time");
            }
            $scope = $workspaces === ['*'] ? null : array_values($workspaces);
            $keys[] = new Key($id, $role, self::secret($id, $key['secret'] ?? null), $scope, $notAfter);
        }

        return new self($keys);
    }

    public function get(string $id): ?Key
    {
        return $this->keys[$id] ?? null;
    }

    /** @return list<Key> */
    public function ofRole(string $role): array
    {
        return array_values(array_filter($this->keys, fn (Key $key) => $key->role === $role));
    }

    /** The key that signs commands for a workspace now. */
    public function signer(int $workspace, int $now): Key
    {
        $keys = $this->ofRole('commands');
        foreach ($keys as $key) {
            if ($key->isValidAt($now) && $key->covers($workspace)) {
                return $key;
            }
        }
        throw new InvalidKeyring($keys === []
            ? 'there is no key of the role commands: set WHATSAPP_COMMAND_KEYS'
            : "no key of the role commands is valid now and covers workspace {$workspace}");
    }

    /** @return list<Key> */
    private static function pairs(string $role, #[SensitiveParameter] string $text): array
    {
        $keys = [];
        foreach (array_filter(array_map('trim', explode(',', $text))) as $pair) {
            [$id, $secret] = array_pad(explode(':', $pair, 2), 2, null);
            if ($secret === null || ! preg_match('/\A[A-Za-z0-9._-]{1,64}\z/', $id)) {
                throw new InvalidKeyring("keys of the role {$role} are written as id:base64-secret, separated by commas");
            }
            $keys[] = new Key($id, $role, self::secret($id, $secret));
        }

        return $keys;
    }

    private static function secret(string $id, #[SensitiveParameter] mixed $text): string
    {
        $secret = is_string($text) ? base64_decode($text, true) : false;
        if ($secret === false) {
            throw new InvalidKeyring("key {$id}: the secret is not base64");
        }
        if (strlen($secret) < 32) {
            throw new InvalidKeyring("key {$id}: the secret is shorter than 32 bytes");
        }

        return $secret;
    }
}
