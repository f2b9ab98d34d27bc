<?php

return [
    'default' => env('BROADCAST_DRIVER', 'reverb'),
    'connections' => [
        'reverb' => [
            'driver' => 'pusher-protocol',
            'key' => env('REVERB_APP_KEY', 'key'),
            'secret' => env('REVERB_APP_SECRET', 'secret'),
            'app_id' => env('REVERB_APP_ID', 'app'),
            'url' => env('REVERB_URL', 'http://127.0.0.1:9'),
        ],
        'null' => ['driver' => 'null'],
    ],
];
