<?php

namespace Wafleet\Laravel\Tests\Feature;

use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;
use PhpAmqpLib\Wire\AMQPTable;
use Wafleet\Laravel\Signing\Keyring;
use Wafleet\Laravel\Tests\Services;
use Wafleet\Laravel\Tests\TestCase;

/** `whatsapp:check` names what is wrong; that the fleet answers it is seen with a real worker elsewhere. */
final class CheckTest extends TestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        $this->withoutMockingConsoleOutput();
    }

    public function test_a_sound_application_has_no_problem(): void
    {
        Artisan::call('whatsapp:declare');
        [$code, $output] = $this->check();
        $this->assertSame(0, $code, $output);
        $this->assertStringContainsString('Everything is as it should be.', $output);
        $this->assertStringContainsString('shop.whatsapp has 0 events waiting, 0 consumers, 0 dead letters', $output);
    }

    public function test_each_fault_is_named_in_plain_words(): void
    {
        Artisan::call('whatsapp:declare');
        $faults = [
            'run php artisan whatsapp:declare' => [fn () => $this->fleet->channel->queue_delete('shop.whatsapp'), fn () => Artisan::call('whatsapp:declare')],
            'wa.events does not exist' => [fn () => $this->fleet->channel->exchange_delete('wa.events'), fn () => $this->fleet->channel->exchange_declare('wa.events', 'topic', false, true, false)],
            'the queue shop.whatsapp exists with other arguments' => [
                function () {
                    $this->fleet->channel->queue_delete('shop.whatsapp');
                    $this->fleet->channel->queue_declare('shop.whatsapp', false, true, false, false, false, new AMQPTable(['x-max-length' => 5]));
                },
                function () {
                    $this->fleet->channel->queue_delete('shop.whatsapp');
                    Artisan::call('whatsapp:declare');
                },
            ],
            'the table whatsapp_messages is missing: run php artisan vendor:publish' => [fn () => Schema::rename('whatsapp_messages', 'away'), fn () => Schema::rename('away', 'whatsapp_messages')],
            'the table whatsapp_sessions lacks health_score: run wafleet migrate up' => [
                fn () => DB::statement('ALTER TABLE whatsapp_sessions RENAME COLUMN health_score TO score'),
                fn () => DB::statement('ALTER TABLE whatsapp_sessions RENAME COLUMN score TO health_score'),
            ],
            'the database session is +7 hours off UTC and whatsapp_sessions has TIMESTAMP columns (last_activity_at)' => [
                function () {
                    DB::statement('ALTER TABLE whatsapp_sessions MODIFY last_activity_at TIMESTAMP NULL');
                    DB::statement("SET time_zone = '+07:00'");
                },
                function () {
                    DB::statement('ALTER TABLE whatsapp_sessions MODIFY last_activity_at DATETIME(3) NULL');
                    DB::statement("SET time_zone = '+00:00'");
                },
            ],
            // Frozen here while the database's goes on: half a minute to spare until it would say 35….
            'this machine\'s clock is 36' => [fn () => $this->travel(3630)->seconds(), fn () => $this->travelBack()],
            'config/broadcasting.php has no such connection' => [fn () => config(['whatsapp.broadcasting.driver' => 'pushr']), fn () => config(['whatsapp.broadcasting.driver' => null])],
            'events that do not exist: message.recieved' => [
                fn () => config(['whatsapp.broadcasting.events' => ['message.recieved']]), fn () => config(['whatsapp.broadcasting.events' => ['session.qr']]),
            ],
            'there is no key to sign commands with' => [fn () => $this->keys(['command_keys' => '']), fn () => $this->keys([])],
            'the secret is shorter than 32 bytes' => [fn () => $this->keys(['event_keys' => 'fleet-1:c2hvcnQ=']), fn () => $this->keys([])],
            'every key to verify events with has ended (old)' => [fn () => $this->ring([['old', 'events', '2020-01-01T00:00:00Z'], ['host-1', 'commands', null]]), fn () => $this->keys([])],
            'an operator\'s key (role ops) is in this ring' => [
                fn () => $this->ring([['a', 'events', null], ['host-1', 'commands', null], ['boss', 'ops', null]]), fn () => $this->keys([]),
            ],
            '127.0.0.1:9, virtual host shop cannot be used' => [fn () => $this->broker('amqp://a:b@127.0.0.1:9/shop'), fn () => $this->broker(Services::amqp())],
            'must be amqp:// or amqps://' => [fn () => $this->broker('http://127.0.0.1'), fn () => $this->broker(Services::amqp())],
            'Login was refused' => [fn () => $this->broker(preg_replace('~//[^:]+:[^@]+@~', '//nobody:wrong@', Services::amqp())), fn () => $this->broker(Services::amqp())],
            'virtual host nowhere cannot be used' => [fn () => $this->broker(preg_replace('~/[^/]+$~', '/nowhere', Services::amqp())), fn () => $this->broker(Services::amqp())],
        ];
        foreach ($faults as $expected => [$break, $mend]) {
            $break();
            try {
                [$code, $output] = $this->check();
            } finally {
                $mend();
            }
            $this->assertSame(1, $code, $expected);
            $this->assertStringContainsString($expected, preg_replace('/\s+/', ' ', $output));
            $this->assertStringContainsString('problem', $output);
        }
        [$code, $output] = $this->check();
        $this->assertSame(0, $code, $output);
    }

    public function test_a_fleet_that_does_not_answer_is_a_problem(): void
    {
        Artisan::call('whatsapp:declare');
        Artisan::call('whatsapp:check', ['--timeout' => 1, '--workspace' => 7]);
        $this->assertStringContainsString('the fleet did not answer within 1 seconds: no worker is running', Artisan::output());
        $this->assertSame(['session.status'], array_column(array_column($this->fleet->commands(), 'command'), 'type'));
    }

    /** @return array{int, string} */
    private function check(): array
    {
        $code = Artisan::call('whatsapp:check', ['--offline' => true]);

        return [$code, Artisan::output()];
    }

    private function keys(array $changes): void
    {
        config(['whatsapp.keyring_file' => null, 'whatsapp.command_keys' => getenv('WHATSAPP_COMMAND_KEYS'), 'whatsapp.event_keys' => getenv('WHATSAPP_EVENT_KEYS')]);
        foreach ($changes as $name => $value) {
            config(["whatsapp.{$name}" => $value]);
        }
        $this->app->forgetInstance(Keyring::class);
    }

    private function ring(array $keys): void
    {
        $file = storage_path('ring.json');
        $keys = array_map(fn ($key) => ['id' => $key[0], 'role' => $key[1], 'secret' => base64_encode(random_bytes(32)), 'workspaces' => ['*'], 'not_after' => $key[2]], $keys);
        file_put_contents($file, json_encode(['keys' => $keys]));
        config(['whatsapp.keyring_file' => $file]);
        $this->app->forgetInstance(Keyring::class);
    }

    private function broker(string $url): void
    {
        config(['whatsapp.broker.url' => $url]);
        $this->anew();
    }
}
