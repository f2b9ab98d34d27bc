<?php

// Signs every accepted command of vectors/signing.json anew with sign.php. Exits 1 on any difference.

require __DIR__.'/sign.php';

$vectors = json_decode(file_get_contents(__DIR__.'/signing.json'), true, flags: JSON_THROW_ON_ERROR);
$secrets = array_column($vectors['keyring']['keys'], 'secret', 'id');
$checked = $wrong = 0;
foreach ($vectors['accepted'] as $vector) {
    ['headers' => $headers, 'properties' => $properties, 'body' => $body] = $vector;
    if ($vector['verify_as'] !== 'wa.commands') {
        continue;
    }
    $signed = wafleet_sign(
        $headers['x-wa-key'],
        $secrets[$headers['x-wa-key']],
        $properties['type'],
        $properties['message_id'],
        (int) $headers['x-wa-workspace'],
        $headers['x-wa-session'],
        (int) $headers['x-wa-issued-at'],
        (int) $headers['x-wa-expires-at'],
        $body['text'] ?? (isset($body['base64']) ? base64_decode($body['base64'], true) : str_repeat($body['repeat'], $body['times'])),
    );
    $checked++;
    if ($signed != $headers) {
        $wrong++;
        fwrite(STDERR, "{$vector['name']}: signed otherwise\n");
    }
}
echo "check.php: {$checked} signed, {$wrong} wrong\n";
exit($wrong > 0 || $checked === 0 ? 1 : 0);
