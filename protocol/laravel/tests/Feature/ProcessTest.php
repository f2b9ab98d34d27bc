<?php

namespace Wafleet\Laravel\Tests\Feature;

use Illuminate\Support\Facades\DB;
use Symfony\Component\Process\Process;
use Wafleet\Laravel\Tests\FarEnd;
use Wafleet\Laravel\Tests\TestCase;

/** The consumer as a process that a supervisor runs. */
final class ProcessTest extends TestCase
{
    private const EVENTS = 400;

    public function test_ended_in_the_middle_it_loses_nothing_and_doubles_nothing(): void
    {
        $this->artisan('whatsapp:declare')->assertExitCode(0);
        foreach (range(1, self::EVENTS) as $n) {
            $this->fleet->tell(FarEnd::golden('message.received', ['seq' => $n, 'data' => ['key' => "key-{$n}", 'id' => "id-{$n}"]]));
        }
        foreach ([SIGTERM, SIGKILL, SIGTERM] as $round => $signal) {
            $consumer = $this->consumer([]);
            $consumer->start();
            $before = DB::table('whatsapp_inbox')->count();
            $this->waitUntil(fn () => DB::table('whatsapp_inbox')->count() >= $before + 20, $consumer);
            $consumer->signal($signal);
            $code = $consumer->wait();
            $this->assertSame($signal === SIGTERM ? 0 : 128 + SIGKILL, $code, $consumer->getOutput().$consumer->getErrorOutput());
            $this->assertLessThan(self::EVENTS, DB::table('whatsapp_inbox')->count(), "round {$round} was to be in the middle");
        }
        $last = $this->consumer(['--stop-when-empty']);
        $last->mustRun();
        $this->fleet->waitForReady(0);
        $this->assertSame([self::EVENTS, self::EVENTS], [DB::table('whatsapp_inbox')->count(), DB::table('whatsapp_messages')->count()]);
        $this->assertSame(1, DB::table('whatsapp_session_states')->whereNull('missing')->where('seq', self::EVENTS)->count(), 'in order, without a gap');
        $this->assertSame([], $this->fleet->deadLetters());
    }

    public function test_a_second_one_stands_by_and_takes_over(): void
    {
        $this->artisan('whatsapp:declare')->assertExitCode(0);
        $tell = fn (int $from, int $to) => array_map(fn ($n) => $this->fleet->tell(FarEnd::golden('session.status-first', ['seq' => $n])), range($from, $to));
        $taken = fn () => DB::table('whatsapp_inbox')->count();
        [$first, $second] = [$this->consumer([]), $this->consumer([])];
        $first->start();
        $this->waitUntil(fn () => str_contains($first->getOutput(), 'consuming'), $first);
        $second->start();
        $this->waitUntil(fn () => str_contains($second->getOutput(), 'consuming'), $second);
        $tell(1, 50);
        $this->waitUntil(fn () => $taken() === 50, $first);
        $first->signal(SIGKILL);
        $first->wait();
        $tell(51, 100);
        $this->waitUntil(fn () => $taken() === 100, $second);
        $second->signal(SIGTERM);
        $this->assertSame(0, $second->wait());
        $this->assertSame(1, DB::table('whatsapp_session_states')->whereNull('missing')->where('seq', 100)->count(), 'in order, without a gap');
    }

    private function consumer(array $options): Process
    {
        return new Process([PHP_BINARY, dirname(__DIR__).'/application/artisan', 'whatsapp:consume', '--prefetch=10', ...$options], null, null, null, 60);
    }

    private function waitUntil(callable $fact, Process $consumer): void
    {
        for ($until = microtime(true) + 30; ! $fact(); usleep(2_000)) {
            $this->assertTrue($consumer->isRunning() && microtime(true) < $until, $consumer->getOutput().$consumer->getErrorOutput());
        }
    }
}
