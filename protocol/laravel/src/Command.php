<?php

namespace Wafleet\Laravel;

use DateInterval;
use DateTimeImmutable;
use DateTimeInterface;
use Illuminate\Support\Str;
use JsonException;
use stdClass;
use Wafleet\Laravel\Exceptions\InvalidCommand;
use Wafleet\Laravel\Signing\Signature;

/** One command to the fleet: what is wanted, of which session, for how long. Made by {@see Session}. */
final class Command
{
    public const LANES = ['urgent' => 9, 'high' => 6, 'normal' => 4, 'campaign' => 1];

    public const CONTROL_LIFETIME_SECONDS = 300;

    public const MESSAGE_LIFETIME_SECONDS = 86_400;

    public const CAMPAIGN_LIFETIME_SECONDS = 7 * 86_400;

    public const MAX_METADATA_BYTES = 8192;

    public const MAX_TEXT_CHARACTERS = 65_536;

    public const MEDIA_KINDS = ['image', 'video', 'video_note', 'audio', 'voice', 'document', 'sticker'];

    public const MAX_INLINE_BYTES = 65_536;

    /** @param array<string, mixed> $data */
    private function __construct(
        public readonly string $id,
        public readonly string $type,
        public readonly int $workspace,
        public readonly string $session,
        public readonly array $data,
        public readonly ?array $metadata,
        public readonly ?string $lane,
        public readonly int $lifetime,
        public readonly string $body,
    ) {}

    /** A command about a session itself. */
    public static function control(string $type, int $workspace, string $session, array $data = [], ?array $metadata = null): self
    {
        return self::make($type, $workspace, $session, $data, $metadata, null, self::CONTROL_LIFETIME_SECONDS);
    }

    /**
     * A text message.
     *
     * @param  string  $to  a phone number with its country code (spaces, hyphens, brackets and a plus sign are taken out), or a chat id of WhatsApp
     */
    public static function text(
        int $workspace, string $session, string $to, string $text, ?string $ref = null, string $lane = 'normal',
        int|DateInterval|DateTimeInterface|null $validFor = null, ?array $metadata = null,
    ): self {
        return self::message($workspace, $session, $to, ['kind' => 'text', 'text' => $text], $ref, null, $lane, $validFor, $metadata);
    }

    /**
     * A message of any kind.
     *
     * @param  array{kind: string}  $content  `kind` and the fields of that kind, as the reference of the protocol lists them
     * @param  string|null  $replyTo  the key of the message that it answers
     */
    public static function message(
        int $workspace, string $session, string $to, array $content, ?string $ref = null, ?string $replyTo = null,
        string $lane = 'normal', int|DateInterval|DateTimeInterface|null $validFor = null, ?array $metadata = null,
    ): self {
        if (! isset(self::LANES[$lane])) {
            throw new InvalidCommand("{$lane} is no lane: it is urgent, high, normal or campaign");
        }
        if (! is_string($content['kind'] ?? null)) {
            throw new InvalidCommand('a message has a kind, such as text, location, contact, poll or forward');
        }
        $text = $content['text'] ?? null;
        if ($content['kind'] === 'text' && (! is_string($text) || $text === '' || mb_strlen($text) > self::MAX_TEXT_CHARACTERS || str_contains($text, "\0"))) {
            throw new InvalidCommand('a text has 1 to '.self::MAX_TEXT_CHARACTERS.' characters, none of them NUL');
        }
        if ($ref !== null && (mb_strlen($ref) < 1 || mb_strlen($ref) > 255 || preg_match('/\p{Cc}/u', $ref) !== 0)) {
            throw new InvalidCommand('a ref has 1 to 255 characters, none of them a control character');
        }
        $data = ['to' => self::chat($to)] + array_filter($content, fn ($value) => $value !== null);
        $data += $replyTo === null ? [] : ['reply_to' => $replyTo];
        $data += $ref === null ? [] : ['reference' => $ref];
        $default = $lane === 'campaign' ? self::CAMPAIGN_LIFETIME_SECONDS : self::MESSAGE_LIFETIME_SECONDS;

        return self::make('message.send', $workspace, $session, $data, $metadata, $lane, self::seconds($validFor) ?? $default);
    }

    /**
     * The content of a message that carries a file, by its address or by its key in the fleet's store.
     *
     * @return array{kind: string}
     */
    public static function media(string $kind, string $file, ?string $caption = null, ?string $filename = null, ?string $mime = null): array
    {
        $source = match (true) {
            (bool) preg_match('~\Ahttps?://[^\s]+\z~i', $file) => ['url' => $file],
            (bool) preg_match('~\Amedia/[1-9][0-9]*/[^\s]+\z~', $file) => ['object' => $file],
            default => throw new InvalidCommand('a file is an address that begins with https://, or a key that begins with media/ and the workspace'),
        };

        return self::file($kind, $source, $caption, $filename, $mime);
    }

    /**
     * The same for a file that is at hand.
     *
     * @return array{kind: string}
     */
    public static function inlineMedia(string $kind, string $bytes, ?string $caption = null, ?string $filename = null, ?string $mime = null): array
    {
        if ($bytes === '' || strlen($bytes) > self::MAX_INLINE_BYTES) {
            throw new InvalidCommand('a file in a command has 1 to '.self::MAX_INLINE_BYTES.' bytes: larger ones go by an address or by the object store');
        }

        return self::file($kind, ['inline' => base64_encode($bytes)], $caption, $filename, $mime);
    }

    private static function file(string $kind, array $source, ?string $caption, ?string $filename, ?string $mime): array
    {
        if (! in_array($kind, self::MEDIA_KINDS, true)) {
            throw new InvalidCommand("{$kind} is no kind of file: it is ".implode(', ', self::MEDIA_KINDS));
        }
        if ($caption !== null && ! in_array($kind, ['image', 'video', 'document'], true)) {
            throw new InvalidCommand("{$kind} has no caption: only an image, a video and a document have one");
        }

        return ['kind' => $kind] + $source + array_filter(['mime' => $mime, 'filename' => $filename, 'caption' => $caption], fn ($value) => $value !== null);
    }

    /** A phone number as the fleet takes it: digits with the country code. */
    public static function phone(string $number): string
    {
        $digits = preg_replace('/\A\+|[\s().\/-]/u', '', trim($number));
        if (! preg_match('/\A[1-9][0-9]{4,14}\z/', (string) $digits)) {
            throw new InvalidCommand('a phone number has 5 to 15 digits with the country code and without leading zeros, such as +49 151 12345678');
        }

        return $digits;
    }

    public function routingKey(): string
    {
        return match (true) {
            $this->lane === null => 'control',
            $this->session === 'auto' => "auto.{$this->workspace}",
            default => "{$this->session}.{$this->lane}",
        };
    }

    public function reference(): ?string
    {
        return $this->data['reference'] ?? null;
    }

    private static function make(string $type, int $workspace, string $session, array $data, ?array $metadata, ?string $lane, int $lifetime): self
    {
        if ($workspace < 1 || $workspace > 2 ** 53 - 1) {
            throw new InvalidCommand('a workspace id is a number from 1 on');
        }
        if (! Signature::isSession($session)) {
            throw new InvalidCommand('a session id has 1 to 64 characters of A-Za-z0-9_-');
        }
        $aboutWorkspace = preg_match('/\A(campaign|optout)\./', $type) === 1;
        if (($session === 'auto') !== ($aboutWorkspace || ($session === 'auto' && $lane === 'campaign'))) {
            throw new InvalidCommand('the session "auto" is for messages on the lane campaign, and for campaign.* and optout.*, which are about the workspace');
        }
        if ($lifetime < 1 || $lifetime > Signature::MAX_LIFETIME_SECONDS) {
            throw new InvalidCommand('a command is valid for one second at least and 30 days at most');
        }
        $body = ['type' => $type, 'version' => 1];
        $body += $metadata === null ? [] : ['metadata' => $metadata === [] ? new stdClass : $metadata];
        $body['data'] = $data === [] ? new stdClass : $data;
        try {
            if ($metadata !== null && (($metadata !== [] && array_is_list($metadata)) || strlen(self::json($metadata)) > self::MAX_METADATA_BYTES)) {
                throw new InvalidCommand('metadata is a map of at most '.self::MAX_METADATA_BYTES.' bytes of JSON');
            }
            $body = self::json($body);
        } catch (JsonException $error) {
            throw new InvalidCommand("this cannot be written as JSON: {$error->getMessage()}", 0, $error);
        }

        return new self((string) Str::orderedUuid(), $type, $workspace, $session, $data, $metadata, $lane, $lifetime, $body);
    }

    private static function json(array $value): string
    {
        return json_encode($value, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION);
    }

    private static function chat(string $to): string
    {
        if (! str_contains($to, '@')) {
            return self::phone($to);
        }
        if (! preg_match('/\A([1-9][0-9]{4,14}@c\.us|[1-9][0-9]{4,19}@lid|[1-9][0-9]{4,19}(-[0-9]{5,15})?@g\.us)\z/', $to)) {
            throw new InvalidCommand('a chat id ends in @c.us, @lid or @g.us, with digits before it');
        }

        return $to;
    }

    private static function seconds(int|DateInterval|DateTimeInterface|null $validFor): ?int
    {
        $now = new DateTimeImmutable;

        return match (true) {
            $validFor instanceof DateInterval => $now->add($validFor)->getTimestamp() - $now->getTimestamp(),
            $validFor instanceof DateTimeInterface => $validFor->getTimestamp() - $now->getTimestamp(),
            default => $validFor,
        };
    }
}
