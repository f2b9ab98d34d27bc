<?php

namespace Wafleet\Laravel\Exceptions;

/** The signing keys are missing or not usable. Says which one, and never its secret. */
final class InvalidKeyring extends WhatsAppException {}
