<?php

namespace Wafleet\Laravel\Console;

use Illuminate\Console\Command;
use PhpAmqpLib\Exception\AMQPExceptionInterface;
use RuntimeException;
use Wafleet\Laravel\Broker\Broker;
use Wafleet\Laravel\Broker\Topology;

final class DeclareCommand extends Command
{
    protected $signature = 'whatsapp:declare {--queue= : Another queue than whatsapp.queue.name}';

    protected $description = "Declare this application's queue of events, its bindings and its dead letters";

    public function handle(Broker $broker): int
    {
        $config = $this->laravel['config']['whatsapp.queue'];
        $config['name'] = $this->option('queue') ?: $config['name'];
        try {
            $connection = $broker->connect('laravel declare');
            (new Topology($config))->declare($connection->channel());
            $connection->close();
        } catch (AMQPExceptionInterface $error) {
            $this->error("the broker at {$broker->address()} cannot be used: {$error->getMessage()}");

            return 1;
        } catch (RuntimeException|\InvalidArgumentException $error) {
            $this->error($error->getMessage());

            return 1;
        }
        $this->info("{$config['name']} is bound to ".implode(', ', $config['bindings']).'; its dead letters go to '.Topology::deadLetters($config['name']));

        return 0;
    }
}
