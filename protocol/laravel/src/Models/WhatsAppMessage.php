<?php

namespace Wafleet\Laravel\Models;

use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Eloquent\Relations\BelongsTo;
use Wafleet\Laravel\Concerns\KeepsUtc;

/** One message, sent or received, with how far it got. Written by this package alone. */
class WhatsAppMessage extends Model
{
    use KeepsUtc;

    public const ACKS = [-1 => 'failed', 0 => 'pending', 1 => 'sent', 2 => 'delivered', 3 => 'read', 4 => 'played'];

    protected $guarded = ['id'];

    protected $casts = [
        'workspace_id' => 'integer', 'has_media' => 'boolean', 'ack' => 'integer', 'acked_at' => 'datetime', 'sent_at' => 'datetime',
    ];

    protected $appends = ['ack_name'];

    public function getConnectionName()
    {
        return $this->connection ?? config('whatsapp.connection');
    }

    public function getTable()
    {
        return config('whatsapp.tables.messages');
    }

    public function session(): BelongsTo
    {
        return $this->belongsTo(config('whatsapp.models.session'), 'session_id', 'session_id');
    }

    public function getAckNameAttribute(): ?string
    {
        return $this->ack === null ? null : self::ACKS[$this->ack] ?? null;
    }
}
