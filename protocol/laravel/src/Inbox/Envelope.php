<?php

namespace Wafleet\Laravel\Inbox;

use Carbon\CarbonImmutable;
use Illuminate\Support\Arr;
use JsonException;
use Throwable;
use Wafleet\Laravel\Signing\Rejected;
use Wafleet\Laravel\Signing\Verified;

/** One event with everything that says where, when and in answer to what. */
final class Envelope
{
    public const VERSION = 1;

    private const MAX_DEPTH = 32;

    /**
     * @param  array<string, mixed>|null  $metadata  what the sender of the command wanted echoed
     * @param  array<string, mixed>  $data  what happened
     */
    public function __construct(
        public readonly string $id,
        public readonly string $type,
        public readonly int $version,
        public readonly int $workspaceId,
        public readonly string $sessionId,
        public readonly string $workerId,
        public readonly int $epoch,
        public readonly int $seq,
        public readonly CarbonImmutable $occurredAt,
        public readonly ?string $correlationId,
        public readonly ?array $metadata,
        public readonly array $data,
    ) {}

    /**
     * Reads a body whose signature was verified, and holds it against what was signed.
     *
     * @throws Rejected
     */
    public static function parse(string $body, Verified $verified): self
    {
        try {
            $fields = json_decode($body, true, self::MAX_DEPTH, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
        } catch (JsonException $error) {
            throw new Rejected($error->getCode() === JSON_ERROR_DEPTH ? 'too_deep' : 'not_json', $error->getMessage());
        }
        is_array($fields) || throw new Rejected('invalid_field', 'an event is an object');
        $field = function (string $name, callable $fits) use ($fields) {
            array_key_exists($name, $fields) && $fits($fields[$name]) || throw new Rejected('invalid_field', $name);

            return $fields[$name];
        };
        $natural = fn ($value) => is_int($value) && $value >= 0;
        $map = fn ($value) => is_array($value) && ($value === [] || ! array_is_list($value));
        $type = $field('type', 'is_string');
        $type === $verified->type || throw new Rejected('type_mismatch');
        foreach (['id' => $verified->messageId, 'workspace_id' => $verified->workspace, 'session_id' => $verified->session] as $name => $signed) {
            $field($name, fn ($value) => $value === $signed);
        }
        try {
            $occurredAt = CarbonImmutable::parse($field('occurred_at', 'is_string'))->utc();
        } catch (Rejected $rejected) {
            throw $rejected;
        } catch (Throwable) {
            throw new Rejected('invalid_field', 'occurred_at');
        }

        return new self(
            $verified->messageId, $type, $field('version', $natural), $verified->workspace, $verified->session, $field('worker_id', 'is_string'),
            $field('epoch', $natural), $field('seq', $natural), $occurredAt,
            $field('correlation_id', fn ($value) => $value === null || is_string($value)),
            $field('metadata', fn ($value) => $value === null || $map($value)),
            $field('data', $map),
        );
    }

    /** A field of the data by its path, such as `health.score`. */
    public function get(string $path, mixed $default = null): mixed
    {
        return Arr::get($this->data, $path, $default);
    }

    /** A moment in the data. */
    public function moment(string $path): ?CarbonImmutable
    {
        $text = $this->get($path);

        return is_string($text) ? CarbonImmutable::parse($text)->utc() : null;
    }

    /** Whether it counts in the numbered story of its session; an answer of a worker that does not own the session does not. */
    public function isNumbered(): bool
    {
        return $this->epoch > 0;
    }
}
