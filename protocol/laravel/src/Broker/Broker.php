<?php

namespace Wafleet\Laravel\Broker;

use InvalidArgumentException;
use PhpAmqpLib\Connection\AbstractConnection;
use PhpAmqpLib\Connection\AMQPConnectionConfig;
use PhpAmqpLib\Connection\AMQPConnectionFactory;
use SensitiveParameter;

/** Where the broker is, and connections to it. */
final class Broker
{
    /** @param array{url: ?string, ca_file: ?string, heartbeat: int, connect_timeout: float|int, confirm_timeout: float|int} $config */
    public function __construct(#[SensitiveParameter] private readonly array $config) {}

    /** A new connection; `$name` is what the broker's administrators see. */
    public function connect(string $name): AbstractConnection
    {
        $url = $this->url();
        $heartbeat = (int) $this->config['heartbeat'];
        $config = new AMQPConnectionConfig;
        $config->setHost($url['host']);
        $config->setPort($url['port']);
        $config->setUser($url['user']);
        $config->setPassword($url['password']);
        $config->setVhost($url['vhost']);
        $config->setHeartbeat($heartbeat);
        $config->setConnectionTimeout((float) $this->config['connect_timeout']);
        // Two heartbeats, or the library refuses; and a limit for the answer to each request.
        $config->setReadTimeout((float) max(2 * $heartbeat, 3));
        $config->setWriteTimeout((float) max(2 * $heartbeat, 3));
        $config->setChannelRPCTimeout((float) $this->config['confirm_timeout']);
        $config->setKeepalive(true);
        $config->setConnectionName($name);
        if ($url['secure']) {
            $config->setIsSecure(true);
            $config->setSslVerify(true);
            $config->setSslVerifyName(true);
            if ($this->config['ca_file'] ?? null) {
                $config->setSslCaCert($this->config['ca_file']);
            }
        }

        return AMQPConnectionFactory::create($config);
    }

    /** Host, port and virtual host, for people. */
    public function address(): string
    {
        $url = $this->url();

        return "{$url['host']}:{$url['port']}, virtual host {$url['vhost']}";
    }

    public function confirmTimeout(): float
    {
        return (float) $this->config['confirm_timeout'];
    }

    /** @return array{host: string, port: int, user: string, password: string, vhost: string, secure: bool} */
    private function url(): array
    {
        $url = parse_url($this->config['url'] ?? '') ?: [];
        $scheme = $url['scheme'] ?? '';
        if (! in_array($scheme, ['amqp', 'amqps'], true) || ! isset($url['host'])) {
            throw new InvalidArgumentException('WHATSAPP_AMQP_URL must be amqp:// or amqps://user:password@host:port/virtual-host');
        }
        $path = substr($url['path'] ?? '', 1);

        return [
            'host' => trim($url['host'], '[]'),
            'port' => $url['port'] ?? ($scheme === 'amqps' ? 5671 : 5672),
            'user' => rawurldecode($url['user'] ?? 'guest'),
            'password' => rawurldecode($url['pass'] ?? 'guest'),
            'vhost' => $path === '' ? '/' : rawurldecode($path),
            'secure' => $scheme === 'amqps',
        ];
    }
}
