<?php

namespace Wafleet\Laravel\Tests\Feature;

use App\Models\Workspace;
use Illuminate\Support\Facades\DB;
use PHPUnit\Framework\AssertionFailedError;
use Wafleet\Laravel\Concerns\HasWhatsAppSessions;
use Wafleet\Laravel\Events\WhatsAppMessageReceived;
use Wafleet\Laravel\Exceptions\InvalidCommand;
use Wafleet\Laravel\Facades\WhatsApp;
use Wafleet\Laravel\Models\WhatsAppSession;
use Wafleet\Laravel\Tests\TestCase;

final class ModelTest extends TestCase
{
    public function test_a_workspace_has_its_numbers_and_nobody_elses(): void
    {
        DB::table('workspaces')->insert(['id' => 8, 'name' => 'eight']);
        $workspace = new class extends Workspace
        {
            use HasWhatsAppSessions;

            protected $table = 'workspaces';
        };
        $seven = $workspace->newQuery()->find(7);
        $session = $seven->whatsappSessions()->create();
        $workspace->newQuery()->find(8)->whatsappSessions()->create(['session_id' => 'other']);
        $this->assertSame([$session->id], $seven->whatsappSessions()->pluck('id')->all());
        $this->assertSame($session->uuid, $session->session_id);
        $this->assertSame([7, $session->session_id], [$session->whatsapp()->workspace, $session->whatsapp()->id]);
        $this->assertTrue($session->is(WhatsAppSession::where($session->getRouteKeyName(), $session->uuid)->sole()));
        $session->delete();
        $this->assertSoftDeleted('whatsapp_sessions', ['id' => $session->id]);
    }

    public function test_what_the_fleet_writes_is_read_in_utc_and_secrets_are_not_serialised(): void
    {
        $session = WhatsAppSession::create(['workspace_id' => 7, 'session_id' => 'support-01']);
        DB::statement("UPDATE whatsapp_sessions SET qr_code = '2@secret', session_data = 'secret', last_connected_at = '2026-11-18 11:06:40.120'");
        date_default_timezone_set('Asia/Jakarta');
        try {
            $session->refresh();
            $this->assertSame('2026-11-18T11:06:40.120Z', $session->last_connected_at->utc()->format('Y-m-d\TH:i:s.v\Z'));
            $session->update(['last_activity_at' => now()]);
            $difference = DB::selectOne('SELECT ABS(TIMESTAMPDIFF(SECOND, last_activity_at, UTC_TIMESTAMP())) AS s FROM whatsapp_sessions')->s;
            $this->assertLessThan(60, $difference, 'written in UTC, not in the time zone of the application');
        } finally {
            date_default_timezone_set('UTC');
        }
        $this->assertStringNotContainsString('secret', $session->toJson());
    }

    public function test_a_fake_takes_the_place_of_the_broker(): void
    {
        $fake = WhatsApp::fake();
        WhatsApp::assertNothingPublished();
        WhatsApp::session('support-01', workspace: 7)->sendText('4915112345678', 'hello', ref: 'order-7');
        WhatsApp::assertPublished('message.send', fn ($command) => $command->data['to'] === '4915112345678' && $command->reference() === 'order-7');
        WhatsApp::assertPublishedTimes('message.send', 1);
        WhatsApp::assertNotPublished('session.logout');
        $this->assertSame([], $this->fleet->commands());
        foreach ([
            fn () => WhatsApp::assertNothingPublished(),
            fn () => WhatsApp::assertPublished('session.start'),
            fn () => WhatsApp::assertPublished('message.send', fn ($command) => false),
            fn () => WhatsApp::assertPublishedTimes('message.send', 2),
            fn () => WhatsApp::assertNotPublished('message.send'),
        ] as $at => $assertion) {
            try {
                $assertion();
            } catch (AssertionFailedError) {
                continue;
            }
            $this->fail("assertion {$at} holds although it should not");
        }
        $this->expectException(InvalidCommand::class);
        $fake->session('support-01', 7)->sendText('nobody', 'hello');
    }

    public function test_a_fake_lets_the_fleet_tell_something(): void
    {
        WhatsApp::fake();
        $heard = [];
        $this->app['events']->listen(WhatsAppMessageReceived::class, function ($event) use (&$heard) {
            $heard[] = [$event->workspaceId(), $event->text()];
        });
        WhatsApp::receive('message.received', ['text' => 'hi', 'chat_id' => '12345@c.us'], ['workspace_id' => 7]);
        $this->assertSame([[7, 'hi']], $heard);
    }
}
