<?php

namespace Wafleet\Laravel\Signing;

/** What is known for certain about a message whose signature was verified. */
final class Verified
{
    public function __construct(
        public readonly string $key,
        public readonly string $type,
        public readonly string $messageId,
        public readonly int $workspace,
        public readonly string $session,
        public readonly int $issuedAt,
        public readonly int $expiresAt,
    ) {}
}
