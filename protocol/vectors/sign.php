<?php

/** The headers of a signed command. Publish exactly $body, and set message_id, type and content_type as given here. */
function wafleet_sign(string $keyId, string $secret, string $type, string $messageId, int $workspace, string $session, int $issuedAt, int $expiresAt, string $body): array
{
    $fields = [$keyId, 'wa.commands', $type, $messageId, $workspace, $session, $issuedAt, $expiresAt, 'application/json'];
    $canonical = implode("\n", ['WA1', ...$fields, hash('sha256', $body), '']);
    $tag = hash_hmac('sha256', $canonical, base64_decode($secret, true), true);

    return [
        'x-wa-signature' => 'WA1='.rtrim(strtr(base64_encode($tag), '+/', '-_'), '='),
        'x-wa-key' => $keyId,
        'x-wa-audience' => 'wa.commands',
        'x-wa-workspace' => (string) $workspace,
        'x-wa-session' => $session,
        'x-wa-issued-at' => (string) $issuedAt,
        'x-wa-expires-at' => (string) $expiresAt,
    ];
}
