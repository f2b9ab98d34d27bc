<?php

namespace Wafleet\Laravel\Models;

use Illuminate\Database\Eloquent\Model;
use Wafleet\Laravel\Concerns\KeepsUtc;

/** How far a session's events were heard, and what they amount to. Written by `whatsapp:consume` alone. */
class WhatsAppSessionState extends Model
{
    use KeepsUtc;

    private const MOMENT = 'Y-m-d\TH:i:s.v\Z';

    public const CREATED_AT = null;

    public $incrementing = false;

    protected $primaryKey = 'session_id';

    protected $keyType = 'string';

    protected $guarded = [];

    protected $hidden = ['qr', 'code'];

    protected $casts = [
        'epoch' => 'integer', 'seq' => 'integer', 'missing' => 'array', 'health_score' => 'integer', 'link_attempt' => 'integer', 'link_max' => 'integer',
        'status_since' => 'datetime', 'link_expires_at' => 'datetime',
    ];

    public function getConnectionName()
    {
        return $this->connection ?? config('whatsapp.connection');
    }

    public function getTable()
    {
        return config('whatsapp.tables.states');
    }

    public function forPage(): array
    {
        return [
            'epoch' => $this->epoch ?? 0,
            'seq' => $this->seq ?? 0,
            'status' => $this->status ?? 'initializing',
            'since' => $this->status_since?->format(self::MOMENT),
            'cause' => $this->cause,
            'phone' => $this->phone,
            'health' => ['score' => $this->health_score],
            'qr' => $this->qr,
            'code' => $this->code,
            'expires_at' => $this->link_expires_at?->format(self::MOMENT),
            'attempt' => $this->link_attempt,
            'max' => $this->link_max,
            'sent_at' => now('UTC')->format(self::MOMENT),
        ];
    }
}
