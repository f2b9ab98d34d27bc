<?php

namespace Wafleet\Laravel\Tests\Feature;

use Illuminate\Support\Facades\Cache;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use RuntimeException;
use Wafleet\Laravel\Events;
use Wafleet\Laravel\Facades\WhatsApp;
use Wafleet\Laravel\Models\WhatsAppMessage;
use Wafleet\Laravel\Models\WhatsAppSession;
use Wafleet\Laravel\Models\WhatsAppSessionState;
use Wafleet\Laravel\Signing\Key;
use Wafleet\Laravel\Tests\FarEnd;
use Wafleet\Laravel\Tests\Services;
use Wafleet\Laravel\Tests\TestCase;

final class ConsumeTest extends TestCase
{
    protected function setUp(): void
    {
        parent::setUp();
        $this->artisan('whatsapp:declare')->assertExitCode(0);
    }

    public function test_every_golden_event_reaches_its_listener(): void
    {
        $files = glob(dirname(__DIR__, 3).'/tests/golden/event/*.json');
        $classes = [
            'command.result-deferred' => Events\WhatsAppCommandDeferred::class, 'command.result' => Events\WhatsAppCommandFinished::class,
            'message.ack' => Events\WhatsAppMessageAcked::class, 'message.received' => Events\WhatsAppMessageReceived::class, 'message.sent' => Events\WhatsAppMessageSent::class,
            'runtime.incompatible' => Events\WhatsAppRuntimeIncompatible::class, 'session.code' => Events\WhatsAppLinkCodeGenerated::class,
            'message.edited' => Events\WhatsAppMessageEdited::class,
            'message.revoked' => Events\WhatsAppMessageRevoked::class,
            'message.reaction' => Events\WhatsAppMessageReaction::class,
            'message.waiting' => Events\WhatsAppMessageWaiting::class,
            'message.media' => Events\WhatsAppMessageMedia::class,
            'poll.vote' => Events\WhatsAppPollVoted::class,
            'presence.update' => Events\WhatsAppPresenceChanged::class,
            'call.received' => Events\WhatsAppCallReceived::class,
            'group.participants' => Events\WhatsAppGroupParticipantsChanged::class,
            'group.update' => Events\WhatsAppGroupUpdated::class,
            'label.update' => Events\WhatsAppLabelUpdated::class,
            'chat.label' => Events\WhatsAppChatLabelled::class,
            'campaign.progress' => Events\WhatsAppCampaignProgress::class,
            'sync.progress' => Events\WhatsAppSyncProgress::class,
            'sync.chats' => Events\WhatsAppSyncedChats::class,
            'sync.messages' => Events\WhatsAppSyncedMessages::class,
            'sync.groups' => Events\WhatsAppSyncedGroups::class,
            'contact.mapping' => Events\WhatsAppContactMapped::class,
            'message.stalled' => Events\WhatsAppMessageStalled::class,
            'session.passkey' => Events\WhatsAppPasskeyRequested::class,
            'session.qr' => Events\WhatsAppQRGenerated::class, 'session.status' => Events\WhatsAppSessionStatusChanged::class,
        ];
        $expected = [];
        foreach ($files as $at => $file) {
            $name = basename($file, '.json');
            $this->fleet->tell(FarEnd::golden($name, ['seq' => $at + 1, 'session_id' => 'support-01']));
            $expected[] = current(array_filter($classes, fn ($class, $prefix) => str_starts_with($name, $prefix), ARRAY_FILTER_USE_BOTH));
        }
        $heard = $this->consume();
        $this->assertSame($expected, array_map('get_class', $heard));
        foreach ($heard as $at => $event) {
            $golden = json_decode(file_get_contents($files[$at]), true);
            $this->assertSame([7, 'support-01', $golden['data']], [$event->workspaceId(), $event->sessionId(), $event->envelope->data]);
            $this->assertSame($golden['occurred_at'], $event->envelope->occurredAt->format('Y-m-d\TH:i:s.v\Z'));
            // Every question an event answers can be asked.
            foreach ((new \ReflectionClass($event))->getMethods(\ReflectionMethod::IS_PUBLIC) as $method) {
                $method->isConstructor() || $method->invoke($event);
            }
        }
        $this->assertSame([], $this->fleet->deadLetters());
    }

    public function test_what_cannot_be_believed_is_a_dead_letter_with_its_reason_and_everything_it_came_with(): void
    {
        $event = fn (array $changes = []) => FarEnd::golden('session.status-first', $changes);
        $replace = fn (string $from, string $to) => fn ($letter) => $letter->body = str_replace($from, $to, $letter->body);
        $cases = [
            ['bad_signature', fn () => $this->fleet->tell($event(), $replace('initializing', 'connected'))],
            ['unsigned', fn () => $this->fleet->tell($event(), fn ($letter) => $letter->headers = [])],
            ['header_not_text', fn () => $this->fleet->tell($event(), fn ($letter) => $letter->headers['x-wa-issued-at'] = (int) $letter->headers['x-wa-issued-at'])],
            ['missing_header', fn () => $this->fleet->tell($event(), function ($letter) { unset($letter->properties['type']); })],
            ['expired', fn () => $this->fleet->tell($event(), issuedAt: time() - 2_592_001)],
            ['issued_in_future', fn () => $this->fleet->tell($event(), issuedAt: time() + 400)],
            ['unknown_key', fn () => $this->fleet->tell($event(), key: new Key('stranger', 'events', str_repeat('x', 32)))],
            ['bad_signature', fn () => $this->fleet->tell($event(), key: new Key('fleet-1', 'events', str_repeat('x', 32)))],
            ['wrong_role', fn () => $this->fleet->tell($event(), key: new Key('host-1', 'commands', base64_decode(Services::COMMAND_SECRET)))],
            ['not_json', fn () => $this->fleet->tell('certainly not JSON')],
            ['not_json', fn () => $this->fleet->tell("{\"a\":\"\xff\"}")],
            ['too_deep', fn () => $this->fleet->tell(str_repeat('[', 40).str_repeat(']', 40))],
            ['invalid_field', fn () => $this->fleet->tell('[]')],
            ['type_mismatch', fn () => $this->fleet->tell(json_encode($event(['type' => 'session.qr'])))],
            ['invalid_field', fn () => $this->fleet->tell(json_encode($event(['id' => '01M7Q5CQGETYDP8V9999999999'])))],
            ['invalid_field', fn () => $this->fleet->tell($event(['occurred_at' => 'yesterday noonish']))],
            ['invalid_field', fn () => $this->fleet->tell($event(['seq' => 'one']))],
        ];
        foreach ($cases as [, $tell]) {
            $tell();
        }
        $this->fleet->tell($event());
        $this->assertCount(1, $this->consume(), 'the good one behind them is heard');
        $letters = $this->fleet->deadLetters();
        $this->assertSame(array_column($cases, 0), array_column($letters, 'reason'));
        $this->assertStringContainsString('connected', $letters[0]['body']);
        $this->assertArrayHasKey('x-wa-signature', $letters[0]['headers']);
        $this->assertSame('workspace.7.session.support-01.session.status', $letters[0]['headers']['x-wa-routing-key']);
        $this->fleet->waitForReady(0);
    }

    public function test_types_and_versions_of_tomorrow_are_handed_over_as_they_are(): void
    {
        $this->fleet->tell(FarEnd::golden('session.status-first', ['type' => 'session.moved', 'data' => ['to' => 'worker-2']]));
        $this->fleet->tell(FarEnd::golden('session.status-connected', ['version' => 2, 'seq' => 2]));
        $heard = $this->consume();
        $this->assertSame([Events\WhatsAppUnknownEvent::class, Events\WhatsAppUnknownEvent::class], array_map('get_class', $heard));
        $this->assertSame(['session.moved', 'worker-2'], [$heard[0]->type(), $heard[0]->envelope->get('to')]);
        $this->assertNull(WhatsAppSessionState::sole()->status, 'nobody guesses what version 2 means');
    }

    public function test_an_event_that_comes_again_is_taken_once(): void
    {
        $event = FarEnd::golden('message.received');
        foreach ([1, 2, 3] as $_) {
            $this->fleet->tell($event);
        }
        $this->assertCount(1, $this->consume());
        $this->assertSame(1, WhatsAppMessage::count());
        // Another owner tells it again, with a place of its own in the story: no gap, and no second message.
        $this->fleet->tell(FarEnd::golden('session.status-first', ['epoch' => 2, 'seq' => 1]));
        $this->fleet->tell(array_replace($event, ['epoch' => 2, 'seq' => 2]));
        $this->fleet->tell(FarEnd::golden('session.status-connected', ['epoch' => 2, 'seq' => 3]));
        $this->assertSame([Events\WhatsAppSessionStatusChanged::class], array_unique(array_map('get_class', $this->consume())));
        $this->assertSame(1, WhatsAppMessage::count());
    }

    public function test_a_message_is_followed_from_the_command_to_read_in_whatever_order_the_events_come(): void
    {
        config(['whatsapp.workspace' => 7]);
        $key = ['data' => ['key' => 'true_4915187654321@c.us_3EB0AA', 'id' => '3EB0AA', 'chat_id' => '4915187654321@c.us']];
        foreach ([['result', 'sent', 'ack2', 'ack3'], ['ack3', 'ack2', 'sent', 'result'], ['sent', 'ack3', 'result', 'ack2']] as $round => $order) {
            $command = WhatsApp::session("s{$round}")->sendText('4915187654321', 'Grüße 👋', ref: "order-{$round}");
            $of = fn (array $more = []) => array_replace_recursive($key, ['session_id' => "s{$round}", 'data' => ['command_id' => $command->id]], $more);
            $events = [
                'result' => FarEnd::golden('command.result-message', $of(['correlation_id' => $command->id, 'data' => ['data' => $key['data']]])),
                'sent' => FarEnd::golden('message.sent-by-command', $of(['data' => ['reference' => "order-{$round}"]])),
                'ack2' => FarEnd::golden('message.ack-delivered', $of(['data' => ['reference' => "order-{$round}"]])),
                'ack3' => FarEnd::golden('message.ack-delivered', $of(['data' => ['ack' => 3, 'name' => 'read', 'reference' => "order-{$round}"]])),
            ];
            foreach ($order as $at => $name) {
                $this->fleet->tell(['seq' => $at + 1] + $events[$name]);
            }
            $heard = $this->consume();
            $acks = array_filter($heard, fn ($event) => $event instanceof Events\WhatsAppMessageAcked && $event->sessionId() === "s{$round}");
            $advanced = array_map(fn ($ack) => [$ack->level(), $ack->advanced], array_values($acks));
            $this->assertSame($order === ['result', 'sent', 'ack2', 'ack3'] ? [[2, true], [3, true]] : [[3, true], [2, false]], $advanced);
            $row = WhatsAppMessage::where('session_id', "s{$round}")->sole();
            $this->assertSame([3, 'read', 'succeeded', "order-{$round}", '3EB0AA', 'out'], [$row->ack, $row->ack_name, $row->outcome, $row->reference, $row->message_id, $row->direction]);
        }
    }

    public function test_what_was_sent_stays_sent(): void
    {
        $ack = fn (int $seq, int $level, string $name) => $this->fleet->tell(FarEnd::golden('message.ack-delivered', ['seq' => $seq, 'data' => ['ack' => $level, 'name' => $name]]));
        $ack(1, 0, 'pending');
        $ack(2, -1, 'failed');
        $ack(3, 1, 'sent');
        $ack(4, -1, 'failed');
        $this->consume();
        $this->assertSame(1, WhatsAppMessage::sole()->ack);
        $this->fleet->tell(FarEnd::golden('command.result-unknown', ['seq' => 5]));
        $this->fleet->tell(FarEnd::golden('command.result-failed', ['seq' => 6]));
        $this->fleet->tell(FarEnd::golden('command.result-deferred', ['seq' => 7]));
        $this->consume();
        $this->assertSame(['failed', 'message_refused'], [WhatsAppMessage::sole()->outcome, WhatsAppMessage::sole()->error_code]);
    }

    public function test_gaps_are_told_and_filled_and_an_older_event_changes_nothing_on_the_page(): void
    {
        $session = WhatsAppSession::create(['workspace_id' => 7, 'session_id' => 'support-01']);
        $status = fn (int $epoch, int $seq, string $status) => $this->fleet->tell(FarEnd::golden('session.status-first', ['epoch' => $epoch, 'seq' => $seq, 'data' => ['status' => $status]]));
        $missing = fn (array $heard) => array_values(array_map(fn ($gap) => [$gap->epoch, $gap->from, $gap->to], array_filter($heard, fn ($event) => $event instanceof Events\WhatsAppEventsMissing)));
        $status(3, 10, 'initializing');
        $status(3, 11, 'qr_required');
        $this->assertSame([], $missing($this->consume()), 'where it is heard first, nothing is missing');
        $status(3, 15, 'connected');
        $this->assertSame([[3, 12, 14]], $missing($this->consume()));
        $status(3, 13, 'authenticating');
        $this->assertSame([], $missing($this->consume()));
        $state = $session->state()->sole();
        $this->assertSame(['connected', 15, [[3, 12, 12], [3, 14, 14]]], [$state->status, $state->seq, $state->missing]);
        $status(4, 2, 'disconnected');
        $status(0, 0, 'failed');
        $status(3, 16, 'stopped');
        $this->assertSame([[4, 1, 1]], $missing($this->consume()));
        $page = $session->forPage();
        $this->assertSame(['disconnected', 4, 2], [$page['status'], $page['epoch'], $page['seq']]);
    }

    public function test_a_page_finds_the_qr_that_is_on_show_and_none_after_it(): void
    {
        config(['app.timezone' => 'Asia/Jakarta']);
        date_default_timezone_set('Asia/Jakarta');
        try {
            $session = WhatsAppSession::create(['workspace_id' => 7, 'session_id' => 'support-01']);
            $this->fleet->tell(FarEnd::golden('session.status-first', ['data' => ['status' => 'qr_required']]));
            $this->fleet->tell(FarEnd::golden('session.qr', ['seq' => 2, 'data' => ['expires_at' => '2026-11-18T11:07:40.120Z']]));
            $this->consume();
            $page = $session->forPage();
            $this->assertSame(
                ['qr_required', '2@AbCdEf,GhIjKl=,MnOpQr=,StUvWx=,1', '2026-11-18T11:07:40.120Z', 1, 6, 1, 2],
                [$page['status'], $page['qr'], $page['expires_at'], $page['attempt'], $page['max'], $page['epoch'], $page['seq']],
            );
            $this->fleet->tell(FarEnd::golden('session.status-connected', ['seq' => 3]));
            $this->consume();
            $page = $session->forPage();
            $this->assertSame(['connected', null, null, '4915112345678'], [$page['status'], $page['qr'], $page['expires_at'], $page['phone']]);
        } finally {
            date_default_timezone_set('UTC');
        }
    }

    public function test_a_listener_that_throws_gets_the_event_again_and_leaves_nothing_half_done(): void
    {
        config(['whatsapp.consume.tries' => 3, 'whatsapp.consume.backoff' => [0]]);
        $tries = [];
        Event::listen(Events\WhatsAppMessageReceived::class, function ($event) use (&$tries) {
            DB::table('users')->insert(['workspace_id' => 7, 'name' => "try for {$event->messageId()}"]);
            $tries[$event->messageId()] = ($tries[$event->messageId()] ?? 0) + 1;
            if ($event->messageId() === 'poison' || $tries[$event->messageId()] < 2) {
                throw new RuntimeException('not today');
            }
        });
        $this->fleet->tell(FarEnd::golden('message.received', ['data' => ['id' => 'poison', 'key' => 'poison']]));
        $this->fleet->tell(FarEnd::golden('message.received', ['seq' => 2, 'data' => ['id' => 'second try', 'key' => 'second']]));
        $this->consume();
        $this->assertSame(['poison' => 3, 'second try' => 2], $tries);
        $this->assertSame(['try for second try'], DB::table('users')->pluck('name')->all());
        $this->assertSame(['second'], WhatsAppMessage::pluck('message_key')->all());
        [$letter] = $this->fleet->deadLetters();
        $this->assertSame('listener_failed', $letter['reason']);
        $this->assertStringContainsString('not today', $letter['headers']['x-wa-detail']);
    }

    public function test_a_database_connection_that_breaks_costs_no_event(): void
    {
        $broken = false;
        Event::listen(Events\WhatsAppMessageReceived::class, function () use (&$broken) {
            if (! $broken) {
                $broken = true;
                DB::statement('KILL CONNECTION_ID()');
            }
        });
        config(['whatsapp.consume.backoff' => [0]]);
        $this->fleet->tell(FarEnd::golden('message.received'));
        $this->consume();
        $this->assertTrue($broken);
        $this->assertSame([1, 1], [WhatsAppMessage::count(), DB::table('whatsapp_inbox')->count()]);
        $this->assertSame([], $this->fleet->deadLetters());
    }

    public function test_a_page_that_nobody_can_reach_costs_no_event(): void
    {
        config(['whatsapp.broadcasting.driver' => 'reverb', 'broadcasting.connections.reverb.url' => 'http://127.0.0.1:9']);
        foreach (range(1, 20) as $seq) {
            $this->fleet->tell(FarEnd::golden('session.status-first', ['seq' => $seq]));
        }
        $this->assertCount(20, $this->consume());
        $this->assertSame([], $this->fleet->deadLetters());
    }

    public function test_an_answer_that_cannot_be_published_does_not_bring_the_question_again(): void
    {
        $asked = 0;
        Event::listen(Events\WhatsAppMessageReceived::class, function ($event) use (&$asked) {
            $asked++;
            WhatsApp::session($event->sessionId(), $event->workspaceId())->sendText($event->chatId(), 'on our way');
        });
        $this->fleet->channel->exchange_delete('wa.commands');
        $this->fleet->tell(FarEnd::golden('message.received'));
        $this->consume();
        $this->assertSame(1, $asked);
        $this->assertSame('not_published', WhatsAppMessage::where('direction', 'out')->sole()->outcome);
        $this->assertSame([], $this->fleet->deadLetters());
    }

    public function test_a_queue_restart_ends_it(): void
    {
        $began = microtime(true);
        Event::listen(Events\WhatsAppSessionStatusChanged::class, fn () => Cache::forever('illuminate:queue:restart', microtime(true)));
        $this->fleet->tell(FarEnd::golden('session.status-first'));
        $this->artisan('whatsapp:consume', ['--max-time' => 30])->assertExitCode(0);
        $this->assertLessThan(20, microtime(true) - $began, 'the restart ended it, not the limit');
    }

    public function test_limits_end_it(): void
    {
        foreach (range(1, 5) as $seq) {
            $this->fleet->tell(FarEnd::golden('session.status-first', ['seq' => $seq]));
        }
        $this->assertCount(2, $this->consume(['--max-messages' => 2, '--stop-when-empty' => false]));
        $this->fleet->waitForReady(3);
        $this->artisan('whatsapp:consume', ['--max-time' => 1])->assertExitCode(0);
        $this->fleet->waitForReady(0);
        $this->artisan('whatsapp:consume', ['--memory' => 1])->assertExitCode(12);
    }

    public function test_maintenance_mode_pauses_it(): void
    {
        $this->fleet->tell(FarEnd::golden('session.status-first'));
        $this->artisan('down')->assertExitCode(0);
        try {
            $this->artisan('whatsapp:consume', ['--max-time' => 1])->assertExitCode(0);
            $this->fleet->waitForReady(1);
            $this->assertCount(1, $this->consume(['--force' => true]));
        } finally {
            $this->artisan('up')->assertExitCode(0);
        }
    }

    public function test_a_broker_that_goes_away_is_waited_for(): void
    {
        Event::listen(Events\WhatsAppSessionStatusChanged::class, function ($event) {
            if ($event->envelope->seq === 1) {
                $this->fleet->cut('laravel consumer');
            }
        });
        $this->fleet->tell(FarEnd::golden('session.status-first', ['seq' => 1]));
        $this->fleet->tell(FarEnd::golden('session.status-first', ['seq' => 2]));
        $heard = $this->consume();
        $this->assertSame([1, 2], array_map(fn ($event) => $event->envelope->seq, $heard), 'each once, in order');
    }

    public function test_old_notes_go(): void
    {
        DB::table('whatsapp_inbox')->insert(['event_id' => FarEnd::id(), 'session_id' => 's1', 'type' => 'session.status', 'taken_at' => now('UTC')->subDays(32)]);
        $this->fleet->tell(FarEnd::golden('session.status-first'));
        $this->consume();
        $this->assertSame(1, DB::table('whatsapp_inbox')->count());
    }
}
