<?php

namespace Wafleet\Laravel\Exceptions;

/** Nobody says to which workspace a session belongs. */
final class UnknownWorkspace extends WhatsAppException {}
