<?php

namespace Wafleet\Laravel\Tests;

use PDO;
use RuntimeException;

/** The real RabbitMQ and MariaDB of the run, and this suite's share of them. */
final class Services
{
    public const COMMAND_SECRET = 'CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws=';

    public const EVENT_SECRET = 'Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8=';

    private static string $name;

    public static function prepare(string $name): void
    {
        self::$name = $name;
        $database = strtr($name, '-', '_');
        self::api('PUT', "vhosts/{$name}", []);
        self::api('PUT', "permissions/{$name}/".rawurlencode(self::url('MANAGEMENT')['user']), ['configure' => '.*', 'write' => '.*', 'read' => '.*']);
        self::server()->exec("CREATE DATABASE {$database} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
        $storage = sys_get_temp_dir()."/{$name}";
        register_shutdown_function(function (int $process) use ($name, $database, $storage) {
            if ($process === getmypid()) {
                self::api('DELETE', "vhosts/{$name}");
                self::server()->exec("DROP DATABASE {$database}");
                exec('rm -rf '.escapeshellarg($storage));
            }
        }, getmypid());
        $url = self::url('DATABASE');
        foreach ([
            'APP_STORAGE' => $storage,
            'DB_HOST' => $url['host'], 'DB_PORT' => $url['port'], 'DB_USERNAME' => $url['user'], 'DB_PASSWORD' => $url['pass'], 'DB_DATABASE' => $database,
            'WHATSAPP_AMQP_URL' => self::amqp(),
            'WHATSAPP_COMMAND_KEYS' => 'host-1:'.self::COMMAND_SECRET,
            'WHATSAPP_EVENT_KEYS' => 'fleet-1:'.self::EVENT_SECRET,
            'WHATSAPP_QUEUE' => 'shop.whatsapp',
        ] as $variable => $value) {
            putenv("{$variable}={$value}");
            $_ENV[$variable] = $_SERVER[$variable] = $value;
        }
    }

    public static function amqp(): string
    {
        return getenv('WAFLEET_TEST_AMQP_URL').'/'.self::$name;
    }

    public static function virtualHost(): string
    {
        return self::$name;
    }

    public static function server(): PDO
    {
        $url = self::url('DATABASE');

        return new PDO("mysql:host={$url['host']};port={$url['port']};charset=utf8mb4", $url['user'], $url['pass'], [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    }

    /** RabbitMQ's management API. */
    public static function api(string $method, string $path, ?array $body = null): mixed
    {
        $url = self::url('MANAGEMENT');
        $answer = file_get_contents("http://{$url['host']}:{$url['port']}/api/{$path}", false, stream_context_create(['http' => [
            'method' => $method,
            'ignore_errors' => true,
            'header' => ['Authorization: Basic '.base64_encode("{$url['user']}:{$url['pass']}"), 'Content-Type: application/json'],
            'content' => $body === null ? '' : json_encode((object) $body),
        ]]));
        if (! preg_match('/ 20[0-9] /', $http_response_header[0])) {
            throw new RuntimeException("{$method} {$path}: {$http_response_header[0]} {$answer}");
        }

        return json_decode($answer, true);
    }

    private static function url(string $service): array
    {
        return array_map('rawurldecode', array_map('strval', parse_url(getenv("WAFLEET_TEST_{$service}_URL"))));
    }
}
