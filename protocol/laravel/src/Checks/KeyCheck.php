<?php

namespace Wafleet\Laravel\Checks;

use Illuminate\Contracts\Container\Container;
use Wafleet\Laravel\Signing\Keyring;

/** Whether there are keys, and whether there is one too many. */
final class KeyCheck
{
    public function __construct(private readonly Container $container) {}

    /** @return iterable<array{bool, string}> */
    public function run(): iterable
    {
        $keyring = $this->container->make(Keyring::class);
        $now = now()->getTimestamp();
        foreach (['commands' => 'sign commands with', 'events' => 'verify events with'] as $role => $use) {
            $keys = $keyring->ofRole($role);
            $valid = array_filter($keys, fn ($key) => $key->isValidAt($now));
            $ids = implode(', ', array_map(fn ($key) => $key->id, $keys));
            yield match (true) {
                $keys === [] => [false, "there is no key to {$use}: the fleet's key ring has one of the role {$role}"],
                $valid === [] => [false, "every key to {$use} has ended ({$ids}): add its successor"],
                default => [true, "keys to {$use}: {$ids}"],
            };
        }
        if ($keyring->ofRole('ops') !== []) {
            yield [false, 'an operator\'s key (role ops) is in this ring: take it out, an application does not need it'];
        }
    }
}
