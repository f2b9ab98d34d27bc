<?php

namespace Wafleet\Laravel\Concerns;

use Illuminate\Support\Facades\Date;
use Wafleet\Laravel\Inbox\Tables;

/** Moments in DATETIME(3) columns are UTC, whatever `app.timezone` says: the fleet writes them too. */
trait KeepsUtc
{
    public function getDateFormat()
    {
        return Tables::MOMENT;
    }

    public function fromDateTime($value)
    {
        return empty($value) ? $value : $this->asDateTime($value)->copy()->utc()->format(Tables::MOMENT);
    }

    protected function asDateTime($value)
    {
        return is_string($value) ? Date::parse($value, 'UTC') : parent::asDateTime($value);
    }
}
