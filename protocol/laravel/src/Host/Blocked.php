<?php

namespace Wafleet\Laravel\Host;

use RuntimeException;

/** A step cannot be done as things are; says what to do about it. What was done before stays, and the rest goes on another time. */
final class Blocked extends RuntimeException {}
