<?php

namespace App\Models;

use Illuminate\Foundation\Auth\User as Authenticatable;

class User extends Authenticatable
{
    protected $guarded = [];

    public function belongsToWorkspace(int $workspace): bool
    {
        return $this->workspace_id === $workspace;
    }

    protected $casts = ['workspace_id' => 'integer'];
}
