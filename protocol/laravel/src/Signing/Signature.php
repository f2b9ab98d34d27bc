<?php

namespace Wafleet\Laravel\Signing;

/**
 * The signature WA1: HMAC-SHA256 over one canonical string with the SHA-256 of the raw body in it. JSON is never
 * encoded again to be verified.
 */
final class Signature
{
    public const COMMANDS = 'wa.commands';

    public const EVENTS = 'wa.events';

    public const CONTENT_TYPE = 'application/json';

    public const MAX_BODY_BYTES = 1 << 20;

    public const MAX_HEADER_BYTES = 512;

    /** A message lives for 30 days at most. */
    public const MAX_LIFETIME_SECONDS = 30 * 86_400;

    /** How far ahead of our clock a message may have been issued. */
    public const MAX_SKEW_SECONDS = 300;

    /** In the order of the canonical string; three of them are AMQP properties. */
    private const FIELDS = [
        'x-wa-key', 'x-wa-audience', 'type', 'message_id', 'x-wa-workspace', 'x-wa-session', 'x-wa-issued-at', 'x-wa-expires-at', 'content_type',
    ];

    private const ROLES = [self::COMMANDS => ['commands', 'ops'], self::EVENTS => ['events']];

    /**
     * The headers of a signed message; publish exactly `$body`, and set type, message_id and content_type as signed.
     *
     * @return array<string, string>
     */
    public static function sign(
        Key $key, string $audience, string $type, string $messageId, int $workspace, string $session, int $issuedAt, int $expiresAt, string $body,
    ): array {
        $headers = [
            'x-wa-key' => $key->id,
            'x-wa-audience' => $audience,
            'x-wa-workspace' => (string) $workspace,
            'x-wa-session' => $session,
            'x-wa-issued-at' => (string) $issuedAt,
            'x-wa-expires-at' => (string) $expiresAt,
        ];
        $values = $headers + ['type' => $type, 'message_id' => $messageId, 'content_type' => self::CONTENT_TYPE];
        $tag = $key->tag(self::canonical(array_map(fn ($name) => $values[$name], self::FIELDS), $body));

        return ['x-wa-signature' => 'WA1='.self::encode($tag)] + $headers;
    }

    /**
     * What is known for certain about a message, or why it is not to be believed.
     *
     * Sizes are checked before anything is hashed, and what the headers say is judged after the signature: every forgery
     * is `bad_signature`, whatever else is wrong with it.
     *
     * @param  array<string, mixed>  $properties  type, message_id, content_type
     * @param  array<string, mixed>  $headers
     *
     * @throws Rejected
     */
    public static function verify(Keyring $keyring, array $properties, array $headers, string $body, string $audience, int $now): Verified
    {
        if (strlen($body) > self::MAX_BODY_BYTES) {
            throw new Rejected('too_large');
        }
        if (! array_key_exists('x-wa-signature', $headers)) {
            throw new Rejected('unsigned');
        }
        $values = $properties + $headers;
        foreach (['x-wa-signature', ...self::FIELDS] as $name) {
            $value = $values[$name] ?? null;
            match (true) {
                ! array_key_exists($name, $values) || ($value === null && array_key_exists($name, $properties)) => throw new Rejected('missing_header', $name),
                ! is_string($value) || preg_match('//u', $value) !== 1 => throw new Rejected('header_not_text', $name),
                strlen($value) > self::MAX_HEADER_BYTES => throw new Rejected('header_too_long', $name),
                default => null,
            };
        }
        $tag = self::decode($values['x-wa-signature']);
        $key = $keyring->get($values['x-wa-key']) ?? throw new Rejected('unknown_key', "no key {$values['x-wa-key']}");
        $fields = array_map(fn ($name) => $values[$name], self::FIELDS);
        foreach ($fields as $at => $field) {
            if (preg_match('/[\x{00}-\x{1f}\x{7f}-\x{9f}]/u', $field)) {
                throw new Rejected('malformed_header', self::FIELDS[$at]);
            }
        }
        if (! hash_equals($key->tag(self::canonical($fields, $body)), $tag)) {
            throw new Rejected('bad_signature', "under the key {$key->id}");
        }

        [, $signedAudience, $type, $messageId, $workspace, $session, $issuedAt, $expiresAt, $contentType] = $fields;
        self::unless($key->isValidAt($now), 'key_expired', $key->id);
        self::unless($signedAudience === $audience, 'wrong_audience');
        self::unless(in_array($key->role, self::ROLES[$audience], true), 'wrong_role', $key->id);
        self::unless(preg_match('/\A[1-9][0-9]{0,15}\z/', $workspace) && (int) $workspace < 2 ** 53, 'bad_id', 'x-wa-workspace');
        self::unless($key->covers((int) $workspace), 'foreign_scope', $key->id);
        self::unless($contentType === self::CONTENT_TYPE, 'bad_content_type');
        self::unless(preg_match('/\A[A-Za-z0-9_-]{1,64}\z/', $messageId), 'bad_id', 'message_id');
        self::unless(self::isSession($session), 'bad_id', 'x-wa-session');
        foreach (['x-wa-issued-at' => $issuedAt, 'x-wa-expires-at' => $expiresAt] as $name => $time) {
            self::unless(preg_match('/\A(0|[1-9][0-9]{0,17})\z/', $time), 'malformed_header', $name);
        }
        self::unless($audience !== self::EVENTS || preg_match('/\A[0-7][0-9A-HJKMNP-TV-Z]{25}\z/', $messageId), 'bad_id', 'message_id');
        self::unless((int) $issuedAt <= $now + self::MAX_SKEW_SECONDS, 'issued_in_future');
        self::unless((int) $expiresAt - (int) $issuedAt <= self::MAX_LIFETIME_SECONDS, 'lifetime_too_long');
        self::unless($expiresAt > $now && (int) $expiresAt > (int) $issuedAt, 'expired');

        return new Verified($key->id, $type, $messageId, (int) $workspace, $session, (int) $issuedAt, (int) $expiresAt);
    }

    /** `auto` stands for any session of the workspace. */
    public static function isSession(string $session): bool
    {
        return preg_match('/\A[A-Za-z0-9_-]{1,64}\z/', $session) === 1;
    }

    /** @param list<string> $fields */
    private static function canonical(array $fields, string $body): string
    {
        return implode("\n", ['WA1', ...$fields, hash('sha256', $body), '']);
    }

    private static function encode(string $tag): string
    {
        return rtrim(strtr(base64_encode($tag), '+/', '-_'), '=');
    }

    private static function decode(string $signature): string
    {
        if (preg_match('/\AWA1=([A-Za-z0-9_-]{43})\z/', $signature, $found)) {
            $tag = base64_decode(strtr($found[1], '-_', '+/'), true);
            // One spelling only: the last character carries two bits that nobody uses.
            if ($tag !== false && self::encode($tag) === $found[1]) {
                return $tag;
            }
        }
        throw new Rejected('malformed_signature');
    }

    private static function unless(bool|int $holds, string $reason, string $detail = ''): void
    {
        $holds || throw new Rejected($reason, $detail);
    }
}
