<?php

namespace Wafleet\Laravel\Contracts;

/** Every event of the fleet: a listener for this interface gets them all, those of later versions included. */
interface WhatsAppEvent {}
