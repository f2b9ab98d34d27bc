<?php

namespace Wafleet\Laravel;

use DateInterval;
use DateTimeInterface;
use Wafleet\Laravel\Contracts\Client;

/**
 * What can be asked of one session. Every method publishes a command and returns it; what became of it comes back as
 * {@see Events\WhatsAppCommandFinished}, found again by the command's id, its `ref` or its metadata.
 *
 * @see Client for what is thrown
 */
final class Session
{
    private ?array $metadata = null;

    public function __construct(private readonly Client $client, public readonly int $workspace, public readonly string $id) {}

    /** The same session, with something of the caller's own that comes back in every event of the next commands. */
    public function with(array $metadata): self
    {
        $session = clone $this;
        $session->metadata = $metadata;

        return $session;
    }

    /**
     * Keeps the session running, and links it if it is not linked: a QR follows, or a code for `$pairingPhone`.
     *
     * @param  bool|null  $rejectCalls  as {@see self::rejectCalls()}; null: as it was
     */
    public function start(?string $pairingPhone = null, ?bool $rejectCalls = null): Command
    {
        return $this->control('session.start', array_filter([
            'pairing_phone' => $pairingPhone === null ? null : Command::phone($pairingPhone),
            'calls' => $rejectCalls === null ? null : self::calls($rejectCalls),
        ]));
    }

    /**
     * Lets the session reject every call by itself, or lets calls ring again. It holds until the next word, also after a restart;
     * {@see Events\WhatsAppCallReceived::wasRejected()} tells of each.
     */
    public function rejectCalls(bool $reject = true): Command
    {
        return $this->control('session.settings', ['calls' => self::calls($reject)]);
    }

    /** Closes the session's browser and keeps it linked. */
    public function stop(): Command
    {
        return $this->control('session.stop');
    }

    /** Asks how the session stands; the answer is the command's result. */
    public function status(): Command
    {
        return $this->control('session.status');
    }

    /** Unlinks the device. The next start needs the phone again. */
    public function logout(): Command
    {
        return $this->control('session.logout');
    }

    /** Asks for a code to be typed into this phone, instead of a QR. */
    public function requestCode(string $phone): Command
    {
        return $this->control('session.link_code', ['phone' => Command::phone($phone)]);
    }

    /**
     * Sends a text.
     *
     * @param  string  $to  a phone number with its country code, or a chat id of WhatsApp
     * @param  string|null  $ref  your own name for the message, echoed in every event about it
     * @param  'urgent'|'high'|'normal'|'campaign'  $lane
     * @param  int|DateInterval|DateTimeInterface|null  $validFor  seconds, a duration or a moment; after it the message is not sent any more.
     *                                                             Without it: 24 hours, 7 days in the lane campaign
     */
    public function sendText(
        string $to, string $text, ?string $ref = null, string $lane = 'normal', int|DateInterval|DateTimeInterface|null $validFor = null,
    ): Command {
        $command = $this->text($to, $text, $ref, $lane, $validFor);
        $this->client->publish($command);

        return $command;
    }

    /**
     * Sends a message of any kind.
     *
     * @param  array{kind: string}  $content  `kind` and the fields of that kind, as the reference of the protocol lists them
     * @param  string|null  $replyTo  the key of the message that it answers
     *
     * @see self::sendText() for the rest
     */
    public function send(
        string $to, array $content, ?string $ref = null, ?string $replyTo = null, string $lane = 'normal',
        int|DateInterval|DateTimeInterface|null $validFor = null,
    ): Command {
        $command = Command::message($this->workspace, $this->id, $to, $content, $ref, $replyTo, $lane, $validFor, $this->metadata);
        $this->client->publish($command);

        return $command;
    }

    /**
     * Sends a file.
     *
     * @param  'image'|'video'|'video_note'|'audio'|'voice'|'document'|'sticker'  $kind  as what its recipient gets it
     * @param  string  $file  an address (`https://…`) that the fleet fetches when the message's turn has come, or the key of an
     *                        object in the fleet's store (`media/<workspace>/…`), such as {@see Events\WhatsAppMessageMedia::object()} tells
     * @param  string|null  $caption  the text below an image, a video or a document
     * @param  string|null  $filename  what recipients of a document see
     * @param  string|null  $mime  what the file is; the fleet looks, and refuses one that is something else
     * @param  mixed  ...$options  ref, replyTo, lane, validFor of {@see self::send()}, by name
     */
    public function sendMedia(
        string $to, string $kind, string $file, ?string $caption = null, ?string $filename = null, ?string $mime = null, mixed ...$options,
    ): Command {
        return $this->send($to, Command::media($kind, $file, $caption, $filename, $mime), ...$options);
    }

    /**
     * Sends a file that is at hand, of {@see Command::MAX_INLINE_BYTES} at most.
     *
     * @param  string  $bytes  the file itself
     *
     * @see self::sendMedia() for the rest
     */
    public function sendMediaInline(
        string $to, string $kind, string $bytes, ?string $caption = null, ?string $filename = null, ?string $mime = null, mixed ...$options,
    ): Command {
        return $this->send($to, Command::inlineMedia($kind, $bytes, $caption, $filename, $mime), ...$options);
    }

    /**
     * Sends a place on the map.
     *
     * @param  mixed  ...$options  ref, replyTo, lane, validFor of {@see self::send()}, by name
     */
    public function sendLocation(
        string $to, float $latitude, float $longitude, ?string $name = null, ?string $address = null, mixed ...$options,
    ): Command {
        return $this->send($to, ['kind' => 'location', 'latitude' => $latitude, 'longitude' => $longitude, 'name' => $name, 'address' => $address], ...$options);
    }

    /**
     * Sends visiting cards.
     *
     * @param  array<string, string>  $contacts  names and phone numbers
     * @param  mixed  ...$options  as of {@see self::sendLocation()}
     */
    public function sendContacts(string $to, array $contacts, mixed ...$options): Command
    {
        $card = fn (string $name, string $phone) => ['name' => $name, 'phone' => Command::phone($phone)];

        return $this->send($to, ['kind' => 'contact', 'contacts' => array_map($card, array_map('strval', array_keys($contacts)), array_values($contacts))], ...$options);
    }

    /**
     * Asks a question with answers to choose from.
     *
     * @param  list<string>  $options  2 to 12 different answers
     * @param  bool  $multiple  whether one person may choose several
     * @param  mixed  ...$more  the options of {@see self::sendLocation()}
     */
    public function sendPoll(string $to, string $question, array $options, bool $multiple = false, mixed ...$more): Command
    {
        return $this->send($to, ['kind' => 'poll', 'question' => $question, 'options' => array_values($options), 'multiple' => $multiple], ...$more);
    }

    /**
     * Passes a message on that this session has.
     *
     * @param  string  $message  its key
     * @param  mixed  ...$options  as of {@see self::sendLocation()}
     */
    public function forward(string $to, string $message, mixed ...$options): Command
    {
        return $this->send($to, ['kind' => 'forward', 'message' => $message], ...$options);
    }

    /**
     * Lets the session tell its past: {@see Events\WhatsAppSyncedChats}, {@see Events\WhatsAppSyncedMessages} and
     * {@see Events\WhatsAppSyncedGroups}, and how far it has come by {@see Events\WhatsAppSyncProgress}. The result comes when it has
     * begun. Messages go and come meanwhile. Another sync that goes on gives way to this one.
     *
     * @param  int|null  $chats  the most chats; null: all
     * @param  int|null  $days  only chats in which something was written within so many days; null: however long ago
     * @param  int  $messages  the newest messages of each chat
     * @param  bool  $groups  whether groups come with those who are in them
     */
    public function sync(?int $chats = 500, ?int $days = 30, int $messages = 50, bool $groups = true): Command
    {
        return $this->control('session.sync', ['chats' => $chats, 'days' => $days, 'messages' => $messages, 'groups' => $groups]);
    }

    /**
     * Gives WhatsApp the answer of a person's passkey to {@see Events\WhatsAppPasskeyRequested}.
     *
     * @param  array|null  $assertion  what `PublicKeyCredential.toJSON()` gave on the person's device; null declines
     */
    public function answerPasskey(string $requestId, ?array $assertion): Command
    {
        // An empty map of JavaScript is an empty list of PHP, and is left out.
        $assertion = $assertion === null ? null : array_filter($assertion, fn ($value) => $value !== [] && $value !== null);

        return $this->control('session.passkey_answer', ['request_id' => $requestId, 'assertion' => $assertion]);
    }

    /** The same as a command that is not published yet; many of them go out at once by {@see Client::publish()}. */
    public function text(
        string $to, string $text, ?string $ref = null, string $lane = 'normal', int|DateInterval|DateTimeInterface|null $validFor = null,
    ): Command {
        return Command::text($this->workspace, $this->id, $to, $text, $ref, $lane, $validFor, $this->metadata);
    }

    private static function calls(bool $reject): string
    {
        return $reject ? 'reject' : 'ring';
    }

    private function control(string $type, array $data = []): Command
    {
        $command = Command::control($type, $this->workspace, $this->id, $data, $this->metadata);
        $this->client->publish($command);

        return $command;
    }
}
