<?php

namespace Wafleet\Laravel;

use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Database\Events\TransactionBeginning;
use Illuminate\Database\Events\TransactionCommitted;
use Illuminate\Database\Events\TransactionRolledBack;
use Illuminate\Support\ServiceProvider;
use Wafleet\Laravel\Broadcasting\Broadcasts;
use Wafleet\Laravel\Broker\Broker;
use Wafleet\Laravel\Broker\Publisher;
use Wafleet\Laravel\Contracts\Client;
use Wafleet\Laravel\Signing\Keyring;

final class WhatsAppServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        $this->mergeConfigFrom(__DIR__.'/../config/whatsapp.php', 'whatsapp');
        $this->app->singleton(Keyring::class, fn (Application $app) => Keyring::fromConfig($app['config']['whatsapp']));
        $this->app->singleton(Broker::class, fn (Application $app) => new Broker($app['config']['whatsapp.broker']));
        // The ring is read with the first command: an application without keys still boots.
        $this->app->singleton(Publisher::class, fn (Application $app) => new Publisher($app->make(Broker::class), fn () => $app->make(Keyring::class)));
        $this->app->singleton(Broadcasts::class);
        $this->app->singleton(BrokerClient::class);
        $this->app->alias(BrokerClient::class, Client::class);
    }

    public function boot(Dispatcher $events): void
    {
        // Only if somebody published something: then the client is there.
        $client = fn (string $method) => function ($event) use ($method) {
            if ($this->app->resolved(BrokerClient::class)) {
                $this->app->make(BrokerClient::class)->{$method}($event->connectionName);
            }
        };
        $events->listen(TransactionBeginning::class, $client('began'));
        $events->listen(TransactionCommitted::class, $client('committed'));
        $events->listen(TransactionRolledBack::class, $client('rolledBack'));

        if ($this->app->runningInConsole()) {
            $this->publishes([__DIR__.'/../config/whatsapp.php' => $this->app->configPath('whatsapp.php')], 'whatsapp-config');
            $this->publishes([__DIR__.'/../database/migrations' => $this->app->databasePath('migrations')], 'whatsapp-migrations');
            $this->publishes([__DIR__.'/../resources/js' => $this->app->resourcePath('js/vendor/whatsapp')], 'whatsapp-js');
            $this->commands([Console\ConsumeCommand::class, Console\DeclareCommand::class, Console\CheckCommand::class, Console\HostCommand::class]);
        }
    }
}
