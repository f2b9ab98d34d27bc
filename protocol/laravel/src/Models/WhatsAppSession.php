<?php

namespace Wafleet\Laravel\Models;

use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Eloquent\Relations\BelongsTo;
use Illuminate\Database\Eloquent\Relations\HasMany;
use Illuminate\Database\Eloquent\Relations\HasOne;
use Illuminate\Database\Eloquent\SoftDeletes;
use Illuminate\Support\Str;
use Wafleet\Laravel\Concerns\KeepsUtc;
use Wafleet\Laravel\Facades\WhatsApp;
use Wafleet\Laravel\Host\SealedCredentials;
use Wafleet\Laravel\Session;

/**
 * One linked number. This application creates and deletes the row; the fleet keeps status, phone number, QR, activity and
 * health in it up to date.
 */
class WhatsAppSession extends Model
{
    use KeepsUtc, SoftDeletes;

    protected $guarded = ['id'];

    /** Whoever has one of these has the number. */
    protected $hidden = ['session_data', 'qr_code'];

    protected $attributes = ['provider_type' => 'webjs', 'status' => 'initializing', 'is_primary' => false, 'is_active' => true];

    protected $casts = [
        'workspace_id' => 'integer', 'is_primary' => 'boolean', 'is_active' => 'boolean', 'metadata' => 'array', 'health_score' => 'integer',
        'status_since' => 'datetime', 'qr_expires_at' => 'datetime', 'last_activity_at' => 'datetime', 'last_connected_at' => 'datetime',
    ];

    public function getConnectionName()
    {
        return $this->connection ?? config('whatsapp.connection');
    }

    public function getTable()
    {
        return config('whatsapp.tables.sessions');
    }

    /** URLs name the uuid. */
    public function getRouteKeyName()
    {
        return 'uuid';
    }

    public function workspace(): BelongsTo
    {
        return $this->belongsTo(config('whatsapp.models.workspace'), 'workspace_id');
    }

    public function messages(): HasMany
    {
        return $this->hasMany(config('whatsapp.models.message'), 'session_id', 'session_id');
    }

    public function state(): HasOne
    {
        return $this->hasOne(WhatsAppSessionState::class, 'session_id', 'session_id');
    }

    /** The session to ask something of: `$row->whatsapp()->sendText(…)`. */
    public function whatsapp(): Session
    {
        return WhatsApp::session($this);
    }

    /** Of a Meta number: what Meta gave you, opened. */
    public function credentials(): array
    {
        return $this->session_data === null ? [] : SealedCredentials::fromConfig(config('whatsapp'))->open($this->session_data);
    }

    /** What a page needs to show the session, in the form of the broadcasts; for `fetchState` of the composable. */
    public function forPage(): array
    {
        $state = $this->state()->first() ?? new WhatsAppSessionState;

        return ['workspace_id' => (int) $this->workspace_id, 'session_id' => $this->session_id] + $state->forPage();
    }

    protected static function booted()
    {
        static::creating(function (self $session) {
            $session->uuid ??= (string) Str::uuid();
            $session->session_id ??= $session->uuid;
        });
    }
}
