<?php

namespace Wafleet\Laravel\Broker;

/** When a consumer ends by itself; 0 is never. */
final class Limits
{
    public function __construct(
        public readonly int $messages = 0,
        public readonly int $seconds = 0,
        public readonly int $megabytes = 0,
        public readonly bool $whenEmpty = false,
    ) {}
}
