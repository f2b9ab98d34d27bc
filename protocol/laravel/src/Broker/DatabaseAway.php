<?php

namespace Wafleet\Laravel\Broker;

use RuntimeException;

/** Nothing can be taken until the database is back. */
final class DatabaseAway extends RuntimeException {}
