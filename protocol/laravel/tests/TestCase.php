<?php

namespace Wafleet\Laravel\Tests;

use Illuminate\Contracts\Console\Kernel;
use Illuminate\Foundation\Testing\TestCase as LaravelTestCase;
use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Wafleet\Laravel\Broker\Broker;
use Wafleet\Laravel\Broker\Publisher;
use Wafleet\Laravel\BrokerClient;
use Wafleet\Laravel\Contracts\WhatsAppEvent;
use Wafleet\Laravel\Events\WhatsAppEventsMissing;
use Wafleet\Laravel\Facades\WhatsApp;

/** A test with a whole application, on real services. Every test finds empty tables and a broker with the fleet's exchanges only. */
abstract class TestCase extends LaravelTestCase
{
    private static bool $migrated = false;

    protected FarEnd $fleet;

    public function createApplication()
    {
        $app = require __DIR__.'/application/bootstrap/app.php';
        $app->make(Kernel::class)->bootstrap();

        return $app;
    }

    protected function setUp(): void
    {
        parent::setUp();
        if (! self::$migrated) {
            $code = Artisan::call('migrate', ['--realpath' => true, '--path' => [realpath(__DIR__.'/application/database/migrations'), realpath(__DIR__.'/../database/migrations')]]);
            $this->assertSame(0, $code, Artisan::output());
            self::$migrated = true;
        }
        DB::statement('SET FOREIGN_KEY_CHECKS = 0');
        foreach (['workspaces', 'users', 'whatsapp_sessions', 'whatsapp_session_states', 'whatsapp_messages', 'whatsapp_inbox'] as $table) {
            DB::table($table)->truncate();
        }
        DB::statement('SET FOREIGN_KEY_CHECKS = 1');
        DB::table('workspaces')->insert(['id' => 7, 'name' => 'seven']);
        $this->fleet = new FarEnd;
    }

    protected function tearDown(): void
    {
        $this->app->make(Publisher::class)->close();
        $this->fleet->close();
        parent::tearDown();
    }

    /** Makes everything that holds a connection to the broker anew, by the configuration as it is now. */
    protected function anew(): void
    {
        foreach ([Broker::class, Publisher::class, BrokerClient::class] as $kept) {
            $this->app->forgetInstance($kept);
        }
        WhatsApp::clearResolvedInstances();
    }

    /** Consumes until the queue is empty and returns what listeners got, in order. */
    protected function consume(array $options = []): array
    {
        $heard = [];
        Event::listen(WhatsAppEvent::class, function ($event) use (&$heard) {
            $heard[] = $event;
        });
        Event::listen(WhatsAppEventsMissing::class, function ($event) use (&$heard) {
            $heard[] = $event;
        });
        $this->artisan('whatsapp:consume', $options + ['--stop-when-empty' => true])->assertExitCode(0);

        return $heard;
    }
}
