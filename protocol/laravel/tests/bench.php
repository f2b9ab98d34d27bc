<?php

// What one process of an application manages: commands published with confirms, events taken with and without a page.
// Runs inside `wafleet-services run`, by tests/laravel/bench.mjs, which brings the Pusher server.

namespace Wafleet\Laravel\Tests;

use Illuminate\Contracts\Console\Kernel;
use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\Facades\DB;
use Wafleet\Laravel\Facades\WhatsApp;

require __DIR__.'/application/autoload.php';

const COMMANDS = 2000;
const EVENTS = 2000;

Services::prepare('laravel-bench-'.getmypid());
$app = require __DIR__.'/application/bootstrap/app.php';
$app->make(Kernel::class)->bootstrap();
Artisan::call('migrate', ['--realpath' => true, '--path' => [realpath(__DIR__.'/application/database/migrations'), realpath(__DIR__.'/../database/migrations')]]);
DB::table('workspaces')->insert(['id' => 7, 'name' => 'seven']);
$fleet = new FarEnd;
Artisan::call('whatsapp:declare');

$measure = function (string $what, int $count, callable $work) {
    $began = hrtime(true);
    $work();
    $seconds = (hrtime(true) - $began) / 1e9;
    printf("%-62s %6.0f/s  (%d in %.2f s)\n", $what, $count / $seconds, $count, $seconds);
};

$session = WhatsApp::session('support-01', workspace: 7);
foreach ([true, false] as $rows) {
    config(['whatsapp.store_messages' => $rows]);
    $how = $rows ? 'each with its row' : 'without rows';
    $measure("commands, one after the other, {$how}", COMMANDS, function () use ($session) {
        foreach (range(1, COMMANDS) as $n) {
            $session->sendText('4915112345678', "number {$n}");
        }
    });
    $measure("commands, all at once, {$how}", COMMANDS, fn () => WhatsApp::publish(array_map(fn ($n) => $session->text('4915112345678', "number {$n}"), range(1, COMMANDS))));
}

config(['whatsapp.store_messages' => true]);
$seq = 0;
foreach ([
    ['message.received', null, 'messages received, with their rows'],
    ['session.status-connected', null, 'status events, nothing broadcast'],
    ['session.status-connected', 'reverb', 'status events, each broadcast over HTTP'],
] as [$golden, $driver, $what]) {
    config(['whatsapp.broadcasting.driver' => $driver]);
    foreach (range(1, EVENTS) as $_) {
        $seq++;
        $fleet->tell(FarEnd::golden($golden, ['seq' => $seq] + (str_starts_with($golden, 'message') ? ['data' => ['key' => "key-{$seq}", 'id' => "id-{$seq}"]] : [])));
    }
    $measure($what, EVENTS, fn () => Artisan::call('whatsapp:consume', ['--max-messages' => EVENTS]));
}
