<?php

$app = new Illuminate\Foundation\Application(dirname(__DIR__));
// The tree of the sources stays clean.
$storage = getenv('APP_STORAGE') ?: sys_get_temp_dir().'/wafleet-laravel-'.getmypid();
foreach (['framework/cache', 'framework/views', 'framework/sessions', 'logs', 'bootstrap'] as $directory) {
    is_dir("{$storage}/{$directory}") || mkdir("{$storage}/{$directory}", 0700, true);
}
$app->useStoragePath($storage);
foreach (['SERVICES', 'PACKAGES', 'CONFIG', 'ROUTES', 'EVENTS'] as $cache) {
    $_ENV["APP_{$cache}_CACHE"] = $_SERVER["APP_{$cache}_CACHE"] = "{$storage}/bootstrap/".strtolower($cache).'.php';
}
$app->singleton(Illuminate\Contracts\Http\Kernel::class, App\Http\Kernel::class);
$app->singleton(Illuminate\Contracts\Console\Kernel::class, App\Console\Kernel::class);
$app->singleton(Illuminate\Contracts\Debug\ExceptionHandler::class, App\Exceptions\Handler::class);

return $app;
