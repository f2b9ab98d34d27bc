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

    /** Keeps the session running, and links it if it is not linked: a QR follows, or a code for `$pairingPhone`. */
    public function start(?string $pairingPhone = null): Command
    {
        return $this->control('session.start', $pairingPhone === null ? [] : ['pairing_phone' => Command::phone($pairingPhone)]);
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

    /** The same as a command that is not published yet; many of them go out at once by {@see Client::publish()}. */
    public function text(
        string $to, string $text, ?string $ref = null, string $lane = 'normal', int|DateInterval|DateTimeInterface|null $validFor = null,
    ): Command {
        return Command::text($this->workspace, $this->id, $to, $text, $ref, $lane, $validFor, $this->metadata);
    }

    private function control(string $type, array $data = []): Command
    {
        $command = Command::control($type, $this->workspace, $this->id, $data, $this->metadata);
        $this->client->publish($command);

        return $command;
    }
}
