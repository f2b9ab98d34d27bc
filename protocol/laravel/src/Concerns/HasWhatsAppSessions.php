<?php

namespace Wafleet\Laravel\Concerns;

use Illuminate\Database\Eloquent\Relations\HasMany;

/** For the model of your tenants: the numbers it has. */
trait HasWhatsAppSessions
{
    public function whatsappSessions(): HasMany
    {
        return $this->hasMany(config('whatsapp.models.session'), 'workspace_id');
    }

    public function whatsappMessages(): HasMany
    {
        return $this->hasMany(config('whatsapp.models.message'), 'workspace_id');
    }
}
