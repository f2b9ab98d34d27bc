<?php

namespace Wafleet\Laravel\Exceptions;

/** The broker refused the commands, or did not confirm them in time: they may or may not be in a queue. */
final class NotConfirmed extends NotPublished {}
