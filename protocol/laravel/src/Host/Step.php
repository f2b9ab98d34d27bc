<?php

namespace Wafleet\Laravel\Host;

/** One change of the host's schema or data that can be looked at, done and undone; doing it twice is doing it once. */
abstract class Step
{
    public function __construct(protected readonly Database $database, protected readonly Naming $naming) {}

    /** Its name in the journal, never used for anything else again. */
    abstract public function name(): string;

    /** What it would do, with how much there is to do; null when there is nothing to do. Changes nothing. */
    abstract public function plan(): ?string;

    /**
     * Does it. Called again after an interruption, with what was kept so far.
     *
     * @param  array<string, mixed>  $kept  what undoing needs
     * @param  callable(array<string, mixed>, int, int): void  $keep  writes down what was done so far: kept, done, total
     * @return array<string, mixed> what undoing needs
     */
    abstract public function apply(array $kept, callable $keep): array;

    /** @param array<string, mixed> $kept */
    abstract public function undo(array $kept): void;
}
