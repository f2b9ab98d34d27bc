<?php

namespace Wafleet\Laravel\Tests\Unit;

use DateInterval;
use PHPUnit\Framework\TestCase;
use Wafleet\Laravel\Command;
use Wafleet\Laravel\Exceptions\InvalidCommand;

final class CommandTest extends TestCase
{
    public function test_bodies_are_the_golden_ones(): void
    {
        $metadata = ['campaign' => 17, 'rate' => 1.0, 'tags' => ['a', 'ü'], 'empty' => []];
        $commands = [
            'message.send' => Command::text(7, 's1', '4915112345678@c.us', "Grüße 👋\nzweite Zeile", 'order-4711', metadata: $metadata),
            'message.send-to-group' => Command::text(7, 's1', '120363012345678901@g.us', 'Hallo alle'),
            'message.send-to-lid' => Command::text(7, 's1', '123456789012345@lid', 'Hallo'),
            'message.send-contact' => Command::message(7, 's1', '4915187654321@c.us', ['kind' => 'contact', 'contacts' => [
                ['name' => 'Anna', 'phone' => '4915112345678'], ['name' => 'Bernd', 'vcard' => "BEGIN:VCARD\nVERSION:3.0\nFN:Bernd\nEND:VCARD"],
            ]]),
            'message.send-poll' => Command::message(7, 's1', '4915187654321@c.us', ['kind' => 'poll', 'question' => 'Wann kommt ihr?', 'options' => ['heute', 'morgen'], 'multiple' => true]),
            'message.send-forward' => Command::message(7, 's1', '4915187654321@c.us', ['kind' => 'forward', 'message' => 'false_987654321098765@lid_3A0123456789ABCDEF01']),
            'message.send-reply' => Command::message(7, 's1', '4915187654321@c.us', ['kind' => 'text', 'text' => 'Hallo'], replyTo: 'false_987654321098765@lid_3A0123456789ABCDEF01'),
            'message.send-image' => Command::message(7, 's1', '4915187654321@c.us', Command::media('image', 'https://shop.example.com/photos/17.jpg?token=abc', 'So sieht es aus', mime: 'image/jpeg')),
            'message.send-document' => Command::message(7, 's1', '4915187654321@c.us', Command::media('document', 'media/7/offers/17.pdf', filename: 'Angebot 17.pdf')),
            'message.send-sticker' => Command::message(7, 's1', '4915187654321@c.us', Command::inlineMedia('sticker', base64_decode('UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=='))),
            'session.sync' => Command::control('session.sync', 7, 's1', ['chats' => 500, 'days' => 30, 'messages' => 50, 'groups' => true]),
            'session.passkey_answer-declined' => Command::control('session.passkey_answer', 7, 's1', ['request_id' => 'mbq3x0k1-1']),
            'session.link_code' => Command::control('session.link_code', 7, 's1', ['phone' => '4915112345678']),
            'session.logout' => Command::control('session.logout', 7, 's1'),
            'session.start' => Command::control('session.start', 7, 's1'),
            'session.start-by-code' => Command::control('session.start', 7, 's1', ['pairing_phone' => '4915112345678'], $metadata),
            'message.send-campaign' => Command::message(7, 'auto', '4915112345678@c.us', ['kind' => 'text', 'text' => '20 %', 'campaign' => ['id' => 'spring-2027']], lane: 'campaign'),
            'campaign.pause' => Command::control('campaign.pause', 7, 'auto', ['campaign' => 'spring-2027']),
            'optout.add' => Command::control('optout.add', 7, 'auto', ['phones' => ['4915112345678', '12025550123']]),
            'session.status' => Command::control('session.status', 7, 's1'),
            'session.stop' => Command::control('session.stop', 7, 's1'),
        ];
        $golden = array_map(fn ($file) => basename($file, '.json'), glob(dirname(__DIR__, 3).'/tests/golden/command/*.json'));
        $this->assertSame([], array_diff(array_keys($commands), $golden));
        foreach ($commands as $name => $command) {
            $expected = json_decode(file_get_contents(dirname(__DIR__, 3)."/tests/golden/command/{$name}.json"), true);
            // Absent and null are the same.
            $expected['data'] = array_filter($expected['data'], fn ($value) => $value !== null);
            $this->assertSame($expected, json_decode($command->body, true), $name);
        }
        $this->assertStringContainsString('"data":{}', $commands['session.stop']->body, 'an empty map is a map');
        $this->assertStringContainsString('"rate":1.0', $commands['message.send']->body);
    }

    public function test_each_lane_has_its_route_and_its_life(): void
    {
        $this->assertSame(['control', 300], [($c = Command::control('session.stop', 7, 's1'))->routingKey(), $c->lifetime]);
        $this->assertSame(['s1.normal', 86_400], [($c = Command::text(7, 's1', '12345', 'a'))->routingKey(), $c->lifetime]);
        $this->assertSame(['s1.campaign', 604_800], [($c = Command::text(7, 's1', '12345', 'a', lane: 'campaign'))->routingKey(), $c->lifetime]);
        $this->assertSame(90, Command::text(7, 's1', '12345', 'a', validFor: 90)->lifetime);
        $this->assertSame(3600, Command::text(7, 's1', '12345', 'a', validFor: new DateInterval('PT1H'))->lifetime);
        $this->assertEqualsWithDelta(60, Command::text(7, 's1', '12345', 'a', validFor: new \DateTimeImmutable('+1 minute'))->lifetime, 1);
    }

    public function test_phone_numbers_may_be_written_as_people_do(): void
    {
        foreach (['+49 151 123-45678', '49 (151) 12345678', '4915112345678'] as $number) {
            $this->assertSame('4915112345678', Command::phone($number));
        }
    }

    public function test_what_the_fleet_would_refuse_is_refused_here(): void
    {
        $bad = [
            fn () => Command::text(7, 's1', '0151 12345678', 'a'),
            fn () => Command::text(7, 's1', 'anna', 'a'),
            fn () => Command::text(7, 's1', '4915112345678@example.com', 'a'),
            fn () => Command::media('picture', 'https://example.com/a.jpg'),
            fn () => Command::media('image', '/tmp/a.jpg'),
            fn () => Command::media('image', 'ftp://example.com/a.jpg'),
            fn () => Command::media('voice', 'https://example.com/a.ogg', caption: 'a'),
            fn () => Command::inlineMedia('image', ''),
            fn () => Command::inlineMedia('image', str_repeat('x', 65_537)),
            fn () => Command::message(7, 's1', '12345', ['text' => 'a']),
            fn () => Command::message(7, 's1', '12345', ['kind' => 'text']),
            fn () => Command::text(7, 's1', '12345', ''),
            fn () => Command::text(7, 's1', '12345', "a\0"),
            fn () => Command::text(7, 's1', '12345', "\xff"),
            fn () => Command::text(7, 's1', '12345', str_repeat('a', 65_537)),
            fn () => Command::text(7, 's1', '12345', 'a', ref: "a\nb"),
            fn () => Command::text(7, 's1', '12345', 'a', ref: str_repeat('ü', 256)),
            fn () => Command::text(7, 's1', '12345', 'a', lane: 'express'),
            fn () => Command::text(7, 's1', '12345', 'a', validFor: 31 * 86_400),
            fn () => Command::text(7, 's1', '12345', 'a', validFor: 0),
            fn () => Command::text(7, 'auto', '12345', 'a'),
            fn () => Command::text(7, '../s1', '12345', 'a'),
            fn () => Command::text(0, 's1', '12345', 'a'),
            fn () => Command::text(7, 's1', '12345', 'a', metadata: ['a', 'b']),
            fn () => Command::text(7, 's1', '12345', 'a', metadata: ['a' => str_repeat('x', 8192)]),
        ];
        foreach ($bad as $at => $make) {
            try {
                $make();
                $this->fail("case {$at} was accepted");
            } catch (InvalidCommand $error) {
                $this->assertNotSame('', $error->getMessage());
            }
        }
        $this->assertCount(25, $bad);
    }
}
