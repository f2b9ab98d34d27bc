<?php

namespace Wafleet\Laravel\Host;

use Closure;

/** A change of the schema: one statement or a few, with what brings back what was. */
final class SchemaStep extends Step
{
    /**
     * @param  Closure(): ?string  $plan
     * @param  Closure(): array<string, mixed>  $keep  what undoing needs, before anything is changed
     * @param  Closure(): void  $apply
     * @param  Closure(array<string, mixed>): void  $undo
     */
    public function __construct(
        Database $database, Naming $naming, private readonly string $name,
        private readonly Closure $plan, private readonly Closure $apply, private readonly Closure $undo, private readonly ?Closure $keep = null,
    ) {
        parent::__construct($database, $naming);
    }

    public function name(): string
    {
        return $this->name;
    }

    public function plan(): ?string
    {
        return ($this->plan)();
    }

    public function apply(array $kept, callable $keep): array
    {
        // Written down before the change: DDL commits by itself, and a second attempt sees what the first one left.
        $kept = $kept ?: ($this->keep ? ($this->keep)() : ['done' => true]);
        $keep($kept, 0, 1);
        ($this->apply)();
        $keep($kept, 1, 1);

        return $kept;
    }

    public function undo(array $kept): void
    {
        ($this->undo)($kept);
    }
}
