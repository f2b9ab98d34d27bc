<?php

namespace App\Providers;

use Illuminate\Foundation\Support\Providers\EventServiceProvider as ServiceProvider;

class EventServiceProvider extends ServiceProvider
{
    /** As Laravel 11 and 12 do by default. */
    public function shouldDiscoverEvents()
    {
        return true;
    }
}
