<?php

namespace Wafleet\Laravel\Exceptions;

/** The broker has no exchange or no queue for it: the fleet is not set up in this virtual host. */
final class Unroutable extends NotPublished {}
