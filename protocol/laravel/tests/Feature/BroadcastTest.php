<?php

namespace Wafleet\Laravel\Tests\Feature;

use Illuminate\Broadcasting\Broadcasters\Broadcaster;
use Illuminate\Support\Facades\Broadcast;
use Illuminate\Support\Facades\DB;
use RuntimeException;
use Wafleet\Laravel\Tests\FarEnd;
use Wafleet\Laravel\Tests\TestCase;

/** What pages are told; that they understand it is seen in a browser elsewhere. */
final class BroadcastTest extends TestCase
{
    /** @var list<array{list<string>, string, array}> */
    public array $told = [];

    public int $tries = 0;

    public bool $isAway = false;

    protected function setUp(): void
    {
        parent::setUp();
        $this->artisan('whatsapp:declare')->assertExitCode(0);
        $test = $this;
        Broadcast::extend('recorder', fn () => new class($test) extends Broadcaster
        {
            public function __construct(private BroadcastTest $test) {}

            public function auth($request) {}

            public function validAuthenticationResponse($request, $result) {}

            public function broadcast(array $channels, $event, array $payload = [])
            {
                $this->test->tries++;
                if ($this->test->isAway) {
                    throw new RuntimeException('nobody there');
                }
                $this->test->told[] = [array_map('strval', $channels), $event, $payload];
            }
        });
        config(['broadcasting.connections.recorder' => ['driver' => 'recorder'], 'whatsapp.broadcasting.driver' => 'recorder']);
    }

    public function test_pages_hear_on_a_private_channel_in_order_and_after_the_commit(): void
    {
        $this->fleet->tell(FarEnd::golden('session.qr', ['seq' => 1]));
        $this->fleet->tell(FarEnd::golden('session.code', ['seq' => 2]));
        $this->fleet->tell(FarEnd::golden('session.status-connected', ['seq' => 3]));
        $this->fleet->tell(FarEnd::golden('message.received', ['seq' => 4]));
        $this->consume();
        $this->assertSame(
            [['private-workspace.7', 'WhatsAppQRGenerated'], ['private-workspace.7', 'WhatsAppLinkCodeGenerated'], ['private-workspace.7', 'WhatsAppSessionStatusChanged']],
            array_map(fn ($told) => [$told[0][0], $told[1]], $this->told),
        );
        [, , $qr] = $this->told[0];
        $this->assertSame(['2@AbCdEf,GhIjKl=,MnOpQr=,StUvWx=,1', '2026-11-18T11:07:40.000Z', 'support-01', 1, 1], [$qr['qr'], $qr['expires_at'], $qr['session_id'], $qr['epoch'], $qr['seq']]);
    }

    public function test_what_is_broadcast_is_chosen_and_never_holds_a_text(): void
    {
        config(['whatsapp.broadcasting.events' => ['message.received', 'message.ack', 'command.result'], 'whatsapp.broadcasting.channel' => 'whatsapp.{workspace}.{session}']);
        $this->fleet->tell(FarEnd::golden('message.received', ['data' => ['text' => str_repeat('long ', 10_000)]]));
        $this->fleet->tell(FarEnd::golden('message.ack-delivered', ['seq' => 2]));
        $this->fleet->tell(FarEnd::golden('command.result-message', ['seq' => 3]));
        $this->fleet->tell(FarEnd::golden('session.qr', ['seq' => 4]));
        $this->consume();
        $this->assertSame(['WhatsAppMessageReceived', 'WhatsAppMessageAcked', 'WhatsAppCommandFinished'], array_column($this->told, 1));
        $this->assertSame(['private-whatsapp.7.support-01'], $this->told[0][0]);
        $this->assertStringNotContainsString('long', json_encode($this->told));
    }

    public function test_nothing_is_broadcast_without_a_driver(): void
    {
        foreach ([null, '', 'null'] as $seq => $driver) {
            config(['whatsapp.broadcasting.driver' => $driver]);
            $this->fleet->tell(FarEnd::golden('session.qr', ['seq' => $seq + 1]));
            $this->consume();
        }
        $this->assertSame([0, 3], [$this->tries, DB::table('whatsapp_inbox')->count()]);
    }

    public function test_a_broadcaster_that_is_away_is_not_asked_for_every_event(): void
    {
        $this->isAway = true;
        foreach (range(1, 10) as $seq) {
            $this->fleet->tell(FarEnd::golden('session.qr', ['seq' => $seq]));
        }
        $this->assertCount(10, $this->consume());
        $this->assertSame(1, $this->tries);
    }
}
