<?php

namespace Wafleet\Laravel\Contracts;

use Wafleet\Laravel\Command;
use Wafleet\Laravel\Models\WhatsAppSession;
use Wafleet\Laravel\Session;

/** Commands to the fleet. */
interface Client
{
    /**
     * A session to ask something of.
     *
     * @param  string|WhatsAppSession  $session  its session id, or its row
     * @param  int|null  $workspace  whose session it is, when there is no row that says so
     *
     * @throws \Wafleet\Laravel\Exceptions\UnknownWorkspace
     */
    public function session(string|WhatsAppSession $session, ?int $workspace = null): Session;

    /**
     * Publishes commands; returns when the broker has confirmed each of them. Inside a database transaction it returns at
     * once and publishes after the commit, which then throws what is listed here.
     *
     * @param  Command|iterable<Command>  $commands
     *
     * @throws \Wafleet\Laravel\Exceptions\BrokerUnavailable the broker is away
     * @throws \Wafleet\Laravel\Exceptions\Unroutable nothing is there that would take them
     * @throws \Wafleet\Laravel\Exceptions\NotConfirmed the broker refused them or did not answer in time
     * @throws \Wafleet\Laravel\Exceptions\InvalidKeyring there is no key to sign with
     */
    public function publish(Command|iterable $commands): void;
}
