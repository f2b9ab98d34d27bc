<?php

namespace Wafleet\Laravel\Broadcasting;

use Illuminate\Broadcasting\InteractsWithBroadcasting;
use Illuminate\Broadcasting\PrivateChannel;
use Illuminate\Contracts\Broadcasting\ShouldBroadcastNow;

/**
 * What a page hears of one event, on a private channel, at once: a queue could bring `connected` before the QR it ends.
 */
final class SessionBroadcast implements ShouldBroadcastNow
{
    use InteractsWithBroadcasting;

    /** @param array<string, mixed> $payload */
    public function __construct(private readonly string $channel, private readonly string $name, private readonly array $payload, string $connection)
    {
        $this->broadcastVia($connection);
    }

    public function broadcastOn(): array
    {
        return [new PrivateChannel($this->channel)];
    }

    public function broadcastAs(): string
    {
        return $this->name;
    }

    public function broadcastWith(): array
    {
        return $this->payload;
    }
}
