<?php

namespace Wafleet\Laravel\Checks;

use Illuminate\Contracts\Config\Repository;
use Wafleet\Laravel\Events\EventTypes;

/** Whether broadcasting is set to something that exists. */
final class PageCheck
{
    public function __construct(private readonly Repository $config) {}

    /** @return iterable<array{bool, string}> */
    public function run(): iterable
    {
        $broadcasting = $this->config->get('whatsapp.broadcasting');
        $driver = $broadcasting['driver'] ?? null;
        $unknown = array_diff($broadcasting['events'], array_keys(EventTypes::CLASSES));
        if ($unknown !== []) {
            yield [false, 'whatsapp.broadcasting.events names events that do not exist: '.implode(', ', $unknown)];
        }
        yield match (true) {
            in_array($driver, [null, '', 'null'], true) => [true, 'nothing is broadcast (WHATSAPP_BROADCASTING is not set)'],
            $this->config->get("broadcasting.connections.{$driver}") === null => [false, "WHATSAPP_BROADCASTING is {$driver}, and config/broadcasting.php has no such connection"],
            default => [true, "pages hear by {$driver} on private channels {$broadcasting['channel']}"],
        };
    }
}
