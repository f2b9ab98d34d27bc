<?php

namespace Wafleet\Laravel\Tests\Unit;

use PHPUnit\Framework\TestCase;
use Wafleet\Laravel\Exceptions\InvalidKeyring;
use Wafleet\Laravel\Signing\Keyring;
use Wafleet\Laravel\Signing\Rejected;
use Wafleet\Laravel\Signing\Signature;

/** The published vectors of the signature, which Rust, Python and JavaScript are held against too. */
final class SignatureTest extends TestCase
{
    private static array $vectors;

    public static function setUpBeforeClass(): void
    {
        self::$vectors = json_decode(file_get_contents(dirname(__DIR__, 3).'/vectors/signing.json'), true, 512, JSON_THROW_ON_ERROR);
    }

    public function test_every_good_vector_is_accepted_and_signed_alike(): void
    {
        $keyring = Keyring::parse(json_encode(self::$vectors['keyring']));
        $this->assertNotEmpty(self::$vectors['accepted']);
        foreach (self::$vectors['accepted'] as $vector) {
            ['headers' => $headers, 'properties' => $properties] = $vector;
            $verified = Signature::verify($keyring, $properties, $headers, $this->body($vector), $vector['verify_as'], $vector['now']);
            $this->assertSame([$properties['type'], $properties['message_id']], [$verified->type, $verified->messageId], $vector['name']);
            $again = Signature::sign(
                $keyring->get($verified->key), $vector['verify_as'], $verified->type, $verified->messageId, $verified->workspace, $verified->session,
                $verified->issuedAt, $verified->expiresAt, $this->body($vector),
            );
            $this->assertEquals($headers, $again, $vector['name']);
        }
    }

    public function test_every_bad_vector_is_refused_for_its_reason(): void
    {
        $keyring = Keyring::parse(json_encode(self::$vectors['keyring']));
        $this->assertGreaterThan(50, count(self::$vectors['refused']));
        foreach (self::$vectors['refused'] as $vector) {
            try {
                Signature::verify($keyring, $vector['properties'], $vector['headers'], $this->body($vector), $vector['verify_as'], $vector['now']);
                $this->fail("{$vector['name']}: accepted");
            } catch (Rejected $rejected) {
                $this->assertSame($vector['reason'], $rejected->reason, $vector['name']);
            }
        }
    }

    public function test_a_ring_that_is_not_usable_names_the_key_and_never_its_secret(): void
    {
        $secret = base64_encode(str_repeat('s', 32));
        $cases = [
            ['', 'a key ring is JSON'],
            [['keys' => []], 'at least one key'],
            [['keys' => [['role' => 'events']]], 'keys[0].id'],
            [['keys' => [['id' => 'a', 'role' => 'boss', 'secret' => $secret, 'workspaces' => ['*']]]], 'the role must be'],
            [['keys' => [['id' => 'a', 'role' => 'events', 'secret' => '!'.$secret, 'workspaces' => ['*']]]], 'not base64'],
            [['keys' => [['id' => 'a', 'role' => 'events', 'secret' => 'c2hvcnQ=', 'workspaces' => ['*']]]], 'shorter than 32'],
            [['keys' => [['id' => 'a', 'role' => 'events', 'secret' => $secret, 'workspaces' => ['1']]]], 'workspaces'],
            [['keys' => [['id' => 'a', 'role' => 'events', 'secret' => $secret, 'workspaces' => ['*'], 'not_after' => 'soon']]], 'not_after'],
        ];
        foreach ($cases as [$ring, $expected]) {
            try {
                Keyring::parse(is_string($ring) ? $ring : json_encode($ring));
                $this->fail($expected);
            } catch (InvalidKeyring $error) {
                $this->assertStringContainsString($expected, $error->getMessage());
                $this->assertStringNotContainsString($secret, $error->getMessage());
            }
        }
        $ring = Keyring::fromConfig(['command_keys' => "a:{$secret}, b:{$secret}", 'event_keys' => "c:{$secret}"]);
        $this->assertSame('a', $ring->signer(7, 0)->id);
        $this->assertStringNotContainsString(str_repeat('s', 32), print_r($ring, true));
    }

    private function body(array $vector): string
    {
        $body = $vector['body'];

        return $body['text'] ?? (isset($body['base64']) ? base64_decode($body['base64'], true) : str_repeat($body['repeat'], $body['times']));
    }
}
