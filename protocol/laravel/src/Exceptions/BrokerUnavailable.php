<?php

namespace Wafleet\Laravel\Exceptions;

/** The broker cannot be reached, refuses the account, or the connection broke. */
final class BrokerUnavailable extends NotPublished {}
