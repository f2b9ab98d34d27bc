<?php

namespace App\Broadcasting;

use GuzzleHttp\Client;
use Illuminate\Broadcasting\Broadcasters\Broadcaster;
use Illuminate\Broadcasting\Broadcasters\UsePusherChannelConventions;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;

/** The Pusher protocol, as much of it as Laravel's reverb and pusher drivers speak: signed events, private channels. */
class PusherProtocolBroadcaster extends Broadcaster
{
    use UsePusherChannelConventions;

    public function __construct(private array $config) {}

    public function auth($request)
    {
        $channel = $this->normalizeChannelName($request->channel_name);
        if (! $request->channel_name || ($this->isGuardedChannel($request->channel_name) && ! $this->retrieveUser($request, $channel))) {
            throw new AccessDeniedHttpException;
        }

        return $this->verifyUserCanAccessChannel($request, $channel);
    }

    public function validAuthenticationResponse($request, $result)
    {
        $signature = hash_hmac('sha256', "{$request->socket_id}:{$request->channel_name}", $this->config['secret']);

        return ['auth' => "{$this->config['key']}:{$signature}"];
    }

    public function broadcast(array $channels, $event, array $payload = [])
    {
        $body = json_encode([
            'name' => $event, 'channels' => $this->formatChannels($channels), 'data' => json_encode(array_diff_key($payload, ['socket' => 1])),
        ]);
        $path = "/apps/{$this->config['app_id']}/events";
        $query = ['auth_key' => $this->config['key'], 'auth_timestamp' => time(), 'auth_version' => '1.0', 'body_md5' => md5($body)];
        $query['auth_signature'] = hash_hmac('sha256', "POST\n{$path}\n".urldecode(http_build_query($query)), $this->config['secret']);
        (new Client(['timeout' => 5]))->post($this->config['url'].$path, ['query' => $query, 'body' => $body, 'headers' => ['Content-Type' => 'application/json']]);
    }
}
