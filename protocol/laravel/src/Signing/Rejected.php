<?php

namespace Wafleet\Laravel\Signing;

use RuntimeException;

/** A message that is not to be believed. The reason is the word that the fleet uses for the same thing. */
final class Rejected extends RuntimeException
{
    public function __construct(public readonly string $reason, string $detail = '')
    {
        parent::__construct($detail === '' ? $reason : "{$reason}: {$detail}");
    }
}
