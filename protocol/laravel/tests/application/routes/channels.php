<?php

use Illuminate\Support\Facades\Broadcast;
