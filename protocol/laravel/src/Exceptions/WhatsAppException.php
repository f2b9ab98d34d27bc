<?php

namespace Wafleet\Laravel\Exceptions;

use RuntimeException;

/** Everything this package throws when something outside of the code is wrong. */
abstract class WhatsAppException extends RuntimeException {}
