<?php

namespace App\Providers;

use App\Broadcasting\PusherProtocolBroadcaster;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\Broadcast;
use Illuminate\Support\Facades\Route;
use Illuminate\Support\ServiceProvider;

class AppServiceProvider extends ServiceProvider
{
    public function boot()
    {
        // Debian has no pusher/pusher-php-server, which Laravel's own drivers reverb and pusher are made of.
        Broadcast::extend('pusher-protocol', fn ($app, array $config) => new PusherProtocolBroadcaster($config));
        Broadcast::routes(['middleware' => ['web', 'auth']]);
        require base_path('routes/channels.php');
        Route::middleware('web')->group(base_path('routes/web.php'));
        // A machine whose clock is wrong.
        if ($seconds = (int) env('CLOCK_AHEAD')) {
            Carbon::setTestNow(Carbon::now()->addSeconds($seconds));
            \Carbon\CarbonImmutable::setTestNow(Carbon::now());
        }
    }
}
