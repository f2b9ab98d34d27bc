<?php

namespace Wafleet\Laravel\Events;

/** A message came that cannot be read yet; if its sender's phone sends it again, a {@see WhatsAppMessageReceived} follows. */
final class WhatsAppMessageWaiting extends AboutMessage {}
