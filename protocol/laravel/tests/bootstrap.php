<?php

// A virtual host and a database of this run's own, on the services of `wafleet-services run`.

require __DIR__.'/application/autoload.php';

$lacking = array_filter(['WAFLEET_TEST_AMQP_URL', 'WAFLEET_TEST_MANAGEMENT_URL', 'WAFLEET_TEST_DATABASE_URL'], fn ($name) => ! getenv($name));
if ($lacking !== []) {
    fwrite(STDERR, 'no test services ('.implode(', ', $lacking)." not set): run `make test`, or wafleet-services run -- phpunit -c protocol/laravel\n");
    exit(1);
}
Wafleet\Laravel\Tests\Services::prepare('laravel-'.getmypid());
