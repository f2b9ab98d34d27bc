<?php

namespace Wafleet\Laravel\Host;

use Illuminate\Encryption\Encrypter;
use Illuminate\Support\Str;
use RuntimeException;
use SensitiveParameter;

/**
 * What an application knows of its Meta numbers, sealed in Laravel's own `encrypted` format under a key of its own: never
 * the application key, which opens much more.
 */
final class SealedCredentials
{
    private const CIPHER = 'AES-256-CBC';

    /** @param list<Encrypter> $encrypters the first one seals, all open */
    private function __construct(private readonly array $encrypters) {}

    /** @param array{encryption_key?: ?string, encryption_previous_keys?: ?string} $config */
    public static function fromConfig(#[SensitiveParameter] array $config): self
    {
        $keys = array_filter([$config['encryption_key'] ?? null, ...explode(',', $config['encryption_previous_keys'] ?? '')]);
        if ($keys === []) {
            throw new RuntimeException('there is no key to seal credentials with: set WHATSAPP_ENCRYPTION_KEY to the output of php artisan key:generate --show, not to APP_KEY');
        }

        return new self(array_map(fn (string $key) => new Encrypter(
            Str::startsWith($key, 'base64:') ? (string) base64_decode(Str::after($key, 'base64:'), true) : $key, self::CIPHER,
        ), array_values($keys)));
    }

    public function seal(#[SensitiveParameter] array $credentials): string
    {
        return $this->encrypters[0]->encryptString(json_encode($credentials, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE));
    }

    public function open(string $sealed): array
    {
        foreach ($this->encrypters as $at => $encrypter) {
            try {
                return json_decode($encrypter->decryptString($sealed), true, 512, JSON_THROW_ON_ERROR);
            } catch (\Illuminate\Contracts\Encryption\DecryptException $error) {
                if ($at === count($this->encrypters) - 1) {
                    throw $error;
                }
            }
        }
        throw new RuntimeException('there is no key to open credentials with');
    }
}
