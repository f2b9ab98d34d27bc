<?php

return [

    // The broker between this application and the fleet: amqp:// or amqps://user:password@host:port/virtual-host
    'broker' => [
        'url' => env('WHATSAPP_AMQP_URL'),
        'ca_file' => env('WHATSAPP_AMQP_CA_FILE'),
        'heartbeat' => 30,          // seconds
        'connect_timeout' => 5,     // seconds
        'confirm_timeout' => 10,    // seconds until a command that the broker does not confirm is an exception
    ],

    // Who signs. Either the path of a key ring in the fleet's own format (`wafleet keys generate`, without the key of
    // the role `ops`), or keys in the environment as `id:base64-secret`, several separated by commas.
    // Of the command keys the first one signs; of the event keys all of them verify.
    'keyring_file' => env('WHATSAPP_KEYRING_FILE'),
    'command_keys' => env('WHATSAPP_COMMAND_KEYS', ''),
    'event_keys' => env('WHATSAPP_EVENT_KEYS', ''),

    // What seals Meta credentials in whatsapp_sessions.session_data: a key of its own (php artisan key:generate --show), never
    // APP_KEY. The key before it still opens what it sealed; several are separated by commas.
    'encryption_key' => env('WHATSAPP_ENCRYPTION_KEY'),
    'encryption_previous_keys' => env('WHATSAPP_ENCRYPTION_PREVIOUS_KEYS', ''),

    // The workspace of commands for a session that has no row in whatsapp_sessions. Leave it empty if you have tenants.
    'workspace' => env('WHATSAPP_WORKSPACE'),

    // Inside a transaction of the connection below, commands wait for its commit, and are forgotten if it is rolled back.
    'after_commit' => true,

    // The database connection of the tables below; null is the default one.
    'connection' => null,
    'tables' => [
        'sessions' => 'whatsapp_sessions',
        'states' => 'whatsapp_session_states',
        'messages' => 'whatsapp_messages',
        'inbox' => 'whatsapp_inbox',
    ],

    // Models that you extended, and the model of your tenants (anything with a numeric id).
    'models' => [
        'session' => Wafleet\Laravel\Models\WhatsAppSession::class,
        'message' => Wafleet\Laravel\Models\WhatsAppMessage::class,
        'workspace' => 'App\\Models\\Workspace',
    ],

    // Messages and their acks go to whatsapp_messages. Without the text if that is what your users expect.
    'store_messages' => true,
    'store_text' => true,

    // The queue of this application. Its name and arguments are this application's own; other applications have others.
    'queue' => [
        'name' => env('WHATSAPP_QUEUE', 'whatsapp.app'),
        'bindings' => ['workspace.#'],    // or workspace.7.#
        'delivery_limit' => 20,           // deliveries that end without an answer before an event is a dead letter
        'declare' => true,                // false: whatsapp:consume expects the queue to be there
    ],

    'consume' => [
        'prefetch' => 50,
        'tries' => 5,                     // how often an event is given to listeners that throw
        'backoff' => [1, 2, 5, 10],       // seconds between these
        'memory' => 128,                  // MiB after which the consumer ends, to be started again
        'inbox_days' => 31,               // events live for 30 days
    ],

    // What the page learns: reverb, pusher or any other connection of config/broadcasting.php; null broadcasts nothing.
    'broadcasting' => [
        'driver' => env('WHATSAPP_BROADCASTING'),
        'channel' => 'workspace.{workspace}',   // always a private channel; {workspace} and {session} are replaced
        'events' => ['session.qr', 'session.code', 'session.passkey', 'session.status'],
        'pause' => 5,                     // seconds without further tries after the broadcaster was not reachable
    ],
];
