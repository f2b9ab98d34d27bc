<?php

namespace Wafleet\Laravel\Events;

/** WhatsApp's server has not acknowledged an own message for long. It still may. */
final class WhatsAppMessageStalled extends AboutMessage {}
