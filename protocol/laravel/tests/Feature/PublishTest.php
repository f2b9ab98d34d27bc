<?php

namespace Wafleet\Laravel\Tests\Feature;

use Illuminate\Database\QueryException;
use Illuminate\Support\Facades\DB;
use PDOException;
use PhpAmqpLib\Message\AMQPMessage;
use RuntimeException;
use Wafleet\Laravel\Command;
use Wafleet\Laravel\Exceptions\BrokerUnavailable;
use Wafleet\Laravel\Exceptions\NotPublished;
use Wafleet\Laravel\Exceptions\UnknownWorkspace;
use Wafleet\Laravel\Exceptions\Unroutable;
use Wafleet\Laravel\Facades\WhatsApp;
use Wafleet\Laravel\Models\WhatsAppMessage;
use Wafleet\Laravel\Models\WhatsAppSession;
use Wafleet\Laravel\Tests\Services;
use Wafleet\Laravel\Tests\TestCase;

final class PublishTest extends TestCase
{
    public function test_a_text_arrives_signed_and_persistent_and_has_a_row(): void
    {
        $session = WhatsAppSession::create(['workspace_id' => 7, 'session_id' => 'support-01']);
        $command = WhatsApp::session('support-01')->with(['order' => 7])->sendText('+49 151 12345678', 'Grüße', ref: 'order-7', lane: 'high', validFor: 600);
        [$arrived] = $this->fleet->commands();
        $this->assertSame('message.send', $arrived['command']['type']);
        $this->assertSame(['to' => '4915112345678', 'kind' => 'text', 'text' => 'Grüße', 'reference' => 'order-7'], $arrived['command']['data']);
        $this->assertSame(['order' => 7], $arrived['command']['metadata']);
        $message = $arrived['message'];
        $this->assertSame(['support-01.high', AMQPMessage::DELIVERY_MODE_PERSISTENT, 6], [$message->getRoutingKey(), $message->get('delivery_mode'), $message->get('priority')]);
        $headers = $message->get('application_headers')->getNativeData();
        $this->assertSame(['7', 'support-01', 600], [$headers['x-wa-workspace'], $headers['x-wa-session'], $headers['x-wa-expires-at'] - $headers['x-wa-issued-at']]);
        $row = $session->messages()->sole();
        $this->assertSame([$command->id, 'order-7', 'queued', 'Grüße', null], [$row->command_id, $row->reference, $row->outcome, $row->text, $row->ack]);
    }

    public function test_session_control_goes_to_the_fleet(): void
    {
        $session = WhatsApp::session('support-01', workspace: 7);
        $ids = [$session->start()->id, $session->start('4915112345678')->id, $session->status()->id, $session->requestCode('+4915112345678')->id, $session->stop()->id, $session->logout()->id];
        $commands = $this->fleet->commands();
        $this->assertSame(['session.start', 'session.start', 'session.status', 'session.link_code', 'session.stop', 'session.logout'], array_column(array_column($commands, 'command'), 'type'));
        $this->assertSame($ids, array_map(fn ($arrived) => $arrived['message']->get('message_id'), $commands));
        $this->assertSame(['control'], array_unique(array_map(fn ($arrived) => $arrived['message']->getRoutingKey(), $commands)));
        $this->assertSame(0, WhatsAppMessage::count());
    }

    public function test_every_kind_of_message_goes_out_as_the_protocol_writes_it(): void
    {
        $session = WhatsApp::session('support-01', workspace: 7);
        $key = 'false_987654321098765@lid_3A0123456789ABCDEF01';
        $session->send('12345', ['kind' => 'text', 'text' => 'Hallo @67890', 'mentions' => ['67890']], replyTo: $key);
        $session->sendLocation('12345', 52.5, 13.25, 'Reichstag', ref: 'place-1', lane: 'high');
        $session->sendContacts('12345', ['Anna' => '+49 151 12345678']);
        $session->sendPoll('12345', 'Wann?', ['heute', 'morgen'], multiple: true, validFor: 60);
        $session->forward('12345', $key);
        $session->answerPasskey('r-1', ['id' => 'AAAA', 'rawId' => 'AAAA', 'type' => 'public-key', 'response' => ['signature' => 'AAAA', 'userHandle' => null], 'clientExtensionResults' => []]);
        $session->answerPasskey('r-2', null);
        $session->sendMedia('12345', 'document', 'https://shop.example.com/offer.pdf', 'Unser Angebot', 'Angebot.pdf', replyTo: $key, lane: 'high');
        $session->sendMediaInline('12345', 'sticker', 'RIFF');
        $session->sync(chats: null, messages: 10);
        $session->rejectCalls();
        $session->start(rejectCalls: false);
        $commands = $this->fleet->commands();
        $this->assertEqualsCanonicalizing([
            ['to' => '12345', 'kind' => 'text', 'text' => 'Hallo @67890', 'mentions' => ['67890'], 'reply_to' => $key],
            ['to' => '12345', 'kind' => 'location', 'latitude' => 52.5, 'longitude' => 13.25, 'name' => 'Reichstag', 'reference' => 'place-1'],
            ['to' => '12345', 'kind' => 'contact', 'contacts' => [['name' => 'Anna', 'phone' => '4915112345678']]],
            ['to' => '12345', 'kind' => 'poll', 'question' => 'Wann?', 'options' => ['heute', 'morgen'], 'multiple' => true],
            ['to' => '12345', 'kind' => 'forward', 'message' => $key],
            ['request_id' => 'r-1', 'assertion' => ['id' => 'AAAA', 'rawId' => 'AAAA', 'type' => 'public-key', 'response' => ['signature' => 'AAAA', 'userHandle' => null]]],
            ['request_id' => 'r-2', 'assertion' => null],
            ['to' => '12345', 'kind' => 'document', 'url' => 'https://shop.example.com/offer.pdf', 'filename' => 'Angebot.pdf', 'caption' => 'Unser Angebot', 'reply_to' => $key],
            ['to' => '12345', 'kind' => 'sticker', 'inline' => 'UklGRg=='],
            ['chats' => null, 'days' => 30, 'messages' => 10, 'groups' => true],
            ['calls' => 'reject'],
            ['calls' => 'ring'],
        ], array_column(array_column($commands, 'command'), 'data'));
        $kinds = WhatsAppMessage::orderBy('id')->pluck('kind')->all();
        $this->assertSame(['chat', 'location', 'vcard', 'poll_creation', 'forward', 'document', 'sticker'], $kinds);
    }

    public function test_nobody_guesses_a_workspace(): void
    {
        $this->expectException(UnknownWorkspace::class);
        WhatsApp::session('nobody-knows');
    }

    public function test_many_commands_go_out_at_once(): void
    {
        $session = WhatsApp::session('support-01', workspace: 7);
        WhatsApp::publish(array_map(fn ($n) => $session->text('12345', "n{$n}", lane: 'campaign'), range(1, 600)));
        $texts = array_map(fn ($arrived) => $arrived['command']['data']['text'], $this->fleet->commands());
        $this->assertSame(array_map(fn ($n) => "n{$n}", range(1, 600)), $texts);
        $this->assertSame(600, WhatsAppMessage::where('outcome', 'queued')->count());
    }

    public function test_a_connection_that_was_cut_is_made_again(): void
    {
        $session = WhatsApp::session('support-01', workspace: 7);
        $session->sendText('12345', 'before');
        $this->fleet->cut('laravel publisher');
        $session->sendText('12345', 'after');
        $this->assertSame(['before', 'after'], array_map(fn ($arrived) => $arrived['command']['data']['text'], $this->fleet->commands()));
    }

    public function test_a_broker_that_is_away_is_an_exception_that_says_so(): void
    {
        config(['whatsapp.broker.url' => 'amqp://wafleet:secret-word@127.0.0.1:9/shop']);
        $this->anew();
        try {
            WhatsApp::session('support-01', workspace: 7)->sendText('12345', 'hello');
            $this->fail('nothing was thrown');
        } catch (BrokerUnavailable $error) {
            $this->assertStringContainsString('127.0.0.1:9, virtual host shop', $error->getMessage());
            $this->assertStringNotContainsString('secret-word', (string) $error);
            $row = WhatsAppMessage::sole();
            $this->assertSame([$error->commands[0]->id, 'not_published'], [$row->command_id, $row->outcome]);
        }
        // The same command, when the broker is back.
        config(['whatsapp.broker.url' => Services::amqp()]);
        $this->anew();
        WhatsApp::publish($error->commands);
        $this->assertSame('hello', $this->fleet->commands()[0]['command']['data']['text']);
        $this->assertSame('queued', WhatsAppMessage::sole()->outcome);
    }

    public function test_a_virtual_host_without_the_fleet_is_an_exception_that_says_so(): void
    {
        $this->fleet->channel->exchange_delete('wa.commands');
        try {
            WhatsApp::session('support-01', workspace: 7)->start();
            $this->fail('nothing was thrown');
        } catch (Unroutable $error) {
            $this->assertStringContainsString('wa.commands does not exist', $error->getMessage());
        }
    }

    public function test_commands_that_no_queue_takes_are_an_exception_with_exactly_these(): void
    {
        $this->fleet->channel->queue_unbind('commands', 'wa.unrouted');
        $session = WhatsApp::session('support-01', workspace: 7);
        $commands = [$session->text('12345', 'lost'), Command::control('session.status', 7, 'support-01'), $session->text('12345', 'lost too')];
        try {
            WhatsApp::publish($commands);
            $this->fail('nothing was thrown');
        } catch (Unroutable $error) {
            $this->assertSame([$commands[0]->id, $commands[2]->id], array_map(fn ($command) => $command->id, $error->commands));
        }
        $this->assertCount(1, $this->fleet->commands());
        $this->assertSame(2, WhatsAppMessage::where('outcome', 'not_published')->count());
    }

    public function test_commands_wait_for_the_commit_and_go_with_a_rollback(): void
    {
        $session = WhatsApp::session('support-01', workspace: 7);
        DB::transaction(function () use ($session) {
            $session->sendText('12345', 'outer');
            try {
                DB::transaction(function () use ($session) {
                    $session->sendText('12345', 'rolled back');
                    throw new RuntimeException('inner');
                });
            } catch (RuntimeException) {
            }
            DB::transaction(fn () => $session->sendText('12345', 'inner'));
            $this->assertSame([], $this->fleet->commands(), 'nothing before the commit');
        });
        $this->assertSame(['outer', 'inner'], array_map(fn ($arrived) => $arrived['command']['data']['text'], $this->fleet->commands()));
        $this->assertSame(['outer', 'inner'], WhatsAppMessage::orderBy('id')->pluck('text')->all());

        DB::beginTransaction();
        $session->sendText('12345', 'never');
        DB::rollBack();
        DB::transaction(fn () => WhatsAppSession::create(['workspace_id' => 7]));
        $this->assertSame([], $this->fleet->commands());
    }

    public function test_commands_of_a_transaction_that_broke_off_go_with_it(): void
    {
        $session = WhatsApp::session('support-01', workspace: 7);
        try {
            DB::transaction(function () use ($session) {
                $session->sendText('12345', 'never');
                DB::statement('KILL CONNECTION_ID()');
            });
            $this->fail('the connection was to break');
        } catch (QueryException|PDOException) {
        }
        DB::reconnect();
        DB::transaction(fn () => $session->sendText('12345', 'later'));
        $this->assertSame(['later'], array_map(fn ($arrived) => $arrived['command']['data']['text'], $this->fleet->commands()));
        $this->assertSame(['later'], WhatsAppMessage::pluck('text')->all());
    }

    public function test_a_commit_throws_what_it_could_not_publish(): void
    {
        $this->fleet->channel->exchange_delete('wa.commands');
        try {
            DB::transaction(function () {
                WhatsAppSession::create(['workspace_id' => 7, 'session_id' => 'support-01']);
                WhatsApp::session('support-01')->sendText('12345', 'one');
                WhatsApp::session('support-01')->sendText('12345', 'two');
            });
            $this->fail('nothing was thrown');
        } catch (NotPublished $error) {
            $this->assertCount(2, $error->commands);
        }
        $this->assertSame(1, WhatsAppSession::count(), 'what was committed stays');
        $this->assertSame(['not_published', 'not_published'], WhatsAppMessage::pluck('outcome')->all());
    }
}
