<?php

namespace Wafleet\Laravel\Exceptions;

use InvalidArgumentException;

/** What was asked for is no command: the fleet would refuse it. Nothing was sent. */
final class InvalidCommand extends InvalidArgumentException {}
