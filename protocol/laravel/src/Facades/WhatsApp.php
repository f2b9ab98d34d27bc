<?php

namespace Wafleet\Laravel\Facades;

use Illuminate\Support\Facades\Facade;
use Wafleet\Laravel\Contracts\Client;
use Wafleet\Laravel\Testing\FakeClient;

/**
 * @method static \Wafleet\Laravel\Session session(string|\Wafleet\Laravel\Models\WhatsAppSession $session, ?int $workspace = null)
 * @method static void publish(\Wafleet\Laravel\Command|iterable $commands)
 * @method static void assertPublished(string $type, ?callable $matches = null)
 * @method static void assertPublishedTimes(string $type, int $times)
 * @method static void assertNotPublished(string $type, ?callable $matches = null)
 * @method static void assertNothingPublished()
 * @method static list<\Wafleet\Laravel\Command> published(?string $type = null)
 * @method static void receive(string $type, array $data = [], array $envelope = [])
 *
 * @see Client
 * @see FakeClient
 */
final class WhatsApp extends Facade
{
    /** Publishes nothing from now on, and remembers what would have been. */
    public static function fake(): FakeClient
    {
        $fake = self::$app->make(FakeClient::class);
        self::swap($fake);

        return $fake;
    }

    protected static function getFacadeAccessor(): string
    {
        return Client::class;
    }
}
