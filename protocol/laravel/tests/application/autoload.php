<?php

// What Composer's autoloader is elsewhere: Debian's libraries, this application, and the package.

require_once 'Illuminate/autoload.php';
require_once 'PhpAmqpLib/autoload.php';
require_once 'GuzzleHttp/autoload.php';
require_once 'Mockery/autoload.php';

if (is_file(__DIR__.'/vendor/autoload.php')) {
    require __DIR__.'/vendor/autoload.php';
}

spl_autoload_register(function (string $class) {
    $package = dirname(__DIR__, 2);
    foreach (['App\\' => __DIR__.'/app/', 'Wafleet\\Laravel\\Tests\\' => $package.'/tests/', 'Wafleet\\Laravel\\' => $package.'/src/'] as $prefix => $directory) {
        $file = $directory.strtr(substr($class, strlen($prefix)), '\\', '/').'.php';
        if (str_starts_with($class, $prefix) && is_file($file)) {
            require $file;

            return;
        }
    }
});
