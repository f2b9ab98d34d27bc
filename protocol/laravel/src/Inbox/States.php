<?php

namespace Wafleet\Laravel\Inbox;

/**
 * How far each session's numbered story was heard, and what a page should show now. Both move only forward: an event that
 * comes late is handed over, but changes nothing here.
 */
final class States
{
    /** How many gaps are remembered per session; the oldest are forgotten first. */
    private const MAX_GAPS = 20;

    public function __construct(private readonly Tables $tables) {}

    /**
     * Notes the event. Returns the first and the last number that were skipped, if some were.
     *
     * @return array{int, int}|null
     */
    public function advance(Envelope $envelope): ?array
    {
        if (! $envelope->isNumbered()) {
            return null;
        }
        $query = fn () => $this->tables->query('states')->where('session_id', $envelope->sessionId);
        $state = $query()->lockForUpdate()->first(['epoch', 'seq', 'missing']);
        if ($state === null) {
            // Where it is heard first, nothing is known of what was before.
            $created = $this->tables->query('states')->insertOrIgnore([
                'session_id' => $envelope->sessionId, 'workspace_id' => $envelope->workspaceId, 'epoch' => $envelope->epoch, 'seq' => $envelope->seq - 1,
                'updated_at' => Tables::now(),
            ]);
            $state = $created === 1
                ? (object) ['epoch' => $envelope->epoch, 'seq' => $envelope->seq - 1, 'missing' => null]
                : $query()->lockForUpdate()->first(['epoch', 'seq', 'missing']);
        }
        $gaps = json_decode($state->missing ?? '[]', true);
        $position = [$envelope->epoch, $envelope->seq];
        if ($position <= [(int) $state->epoch, (int) $state->seq]) {
            $left = $this->without($gaps, $envelope);
            if ($left !== $gaps) {
                $query()->update(['missing' => $left === [] ? null : json_encode($left)]);
            }

            return null;
        }
        $expected = $envelope->epoch === (int) $state->epoch ? (int) $state->seq + 1 : 1;
        $missing = $envelope->seq > $expected ? [$expected, $envelope->seq - 1] : null;
        if ($missing !== null) {
            $gaps = array_slice([...$gaps, [$envelope->epoch, ...$missing]], -self::MAX_GAPS);
        }
        $query()->update([
            'workspace_id' => $envelope->workspaceId,
            'epoch' => $envelope->epoch,
            'seq' => $envelope->seq,
            'missing' => $gaps === [] ? null : json_encode($gaps),
            'updated_at' => Tables::now(),
        ] + $this->shown($envelope));

        return $missing;
    }

    /** What the event changes for a page. */
    private function shown(Envelope $envelope): array
    {
        if ($envelope->version !== Envelope::VERSION) {
            return [];
        }
        $moment = fn (string $path) => $envelope->moment($path)?->format(Tables::MOMENT);

        return match ($envelope->type) {
            'session.qr' => [
                'qr' => $envelope->get('qr'), 'code' => null, 'link_expires_at' => $moment('expires_at'),
                'link_attempt' => $envelope->get('attempt'), 'link_max' => $envelope->get('max'),
            ],
            'session.code' => [
                'qr' => null, 'code' => $envelope->get('code'), 'link_expires_at' => $moment('expires_at'), 'link_attempt' => null, 'link_max' => null,
            ],
            'session.status' => [
                'status' => $envelope->get('status'), 'status_since' => $moment('since'), 'cause' => $envelope->get('cause'),
                'health_score' => $envelope->get('health.score'),
            ]
                + ($envelope->get('phone') === null ? [] : ['phone' => $envelope->get('phone')])
                + ($envelope->get('status') === 'qr_required' ? [] : [
                    'qr' => null, 'code' => null, 'link_expires_at' => null, 'link_attempt' => null, 'link_max' => null,
                ]),
            default => [],
        };
    }

    /**
     * @param  list<array{int, int, int}>  $gaps  epoch, first, last
     * @return list<array{int, int, int}>
     */
    private function without(array $gaps, Envelope $envelope): array
    {
        $left = [];
        foreach ($gaps as [$epoch, $first, $last]) {
            if ($epoch !== $envelope->epoch || $envelope->seq < $first || $envelope->seq > $last) {
                $left[] = [$epoch, $first, $last];

                continue;
            }
            if ($envelope->seq > $first) {
                $left[] = [$epoch, $first, $envelope->seq - 1];
            }
            if ($envelope->seq < $last) {
                $left[] = [$epoch, $envelope->seq + 1, $last];
            }
        }

        return $left;
    }
}
