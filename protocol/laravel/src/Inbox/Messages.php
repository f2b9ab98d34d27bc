<?php

namespace Wafleet\Laravel\Inbox;

use Illuminate\Contracts\Config\Repository;
use Wafleet\Laravel\Command;

/**
 * One row per message, from the moment it is sent or comes in. Events about it may come in any order: the row is found by
 * the command's id or by WhatsApp's key, and an ack never falls.
 */
final class Messages
{
    /** From a kind of `message.send` to WhatsApp's own word, which `message.sent` tells. What is passed on has the kind of the original, told then. */
    private const KINDS = ['text' => 'chat', 'contact' => 'vcard', 'poll' => 'poll_creation', 'voice' => 'ptt', 'video_note' => 'ptv'];

    /** Results that nothing follows. */
    private const LAST_WORDS = ['succeeded', 'failed'];

    public function __construct(private readonly Tables $tables, private readonly Repository $config) {}

    /** @param list<Command> $commands about to be published */
    public function queued(array $commands): void
    {
        $texts = array_filter($commands, fn (Command $command) => $command->type === 'message.send');
        if ($texts === [] || ! $this->config->get('whatsapp.store_messages')) {
            return;
        }
        $now = Tables::now();
        $rows = array_map(fn (Command $command) => [
            'workspace_id' => $command->workspace,
            'session_id' => $command->session,
            'direction' => 'out',
            'chat_id' => $this->chat($command->data['to']),
            'kind' => self::KINDS[$command->data['kind']] ?? $command->data['kind'],
            'text' => $this->text($command->data['text'] ?? $command->data['question'] ?? null),
            'reference' => $command->reference(),
            'command_id' => $command->id,
            'outcome' => 'queued',
            'created_at' => $now,
            'updated_at' => $now,
        ], array_values($texts));
        foreach (array_chunk($rows, 200) as $some) {
            // The same command published again keeps its row.
            $this->tables->query('messages')->insertOrIgnore($some);
            $this->tables->query('messages')->whereIn('command_id', array_column($some, 'command_id'))->where('outcome', 'not_published')
                ->update(['outcome' => 'queued', 'error_message' => null, 'updated_at' => $now]);
        }
    }

    /** @param list<Command> $commands that the broker did not take for sure */
    public function notPublished(array $commands, string $why): void
    {
        if (! $this->config->get('whatsapp.store_messages')) {
            return;
        }
        foreach (array_chunk($commands, 500) as $some) {
            $this->tables->query('messages')->whereIn('command_id', array_map(fn (Command $command) => $command->id, $some))->where('outcome', 'queued')
                ->update(['outcome' => 'not_published', 'error_message' => mb_substr($why, 0, 255), 'updated_at' => Tables::now()]);
        }
    }

    /** Notes what an event says of a message. Returns false for an ack that raised nothing. */
    public function record(Envelope $envelope): bool
    {
        if ($envelope->version !== Envelope::VERSION || ! $this->config->get('whatsapp.store_messages')) {
            return true;
        }
        switch ($envelope->type) {
            case 'message.received':
            case 'message.sent':
                $this->save($envelope, $envelope->get('key'), $envelope->get('command_id'), $this->content($envelope));

                return true;
            case 'message.ack':
                return $this->save($envelope, $envelope->get('key'), $envelope->get('command_id'), [
                    'message_id' => $envelope->get('id'), 'chat_id' => $envelope->get('chat_id'), 'reference' => $envelope->get('reference'),
                ], (int) $envelope->get('ack'));
            case 'command.result':
                if ($envelope->get('command_type') === 'message.send') {
                    $this->save($envelope, $envelope->get('data.key'), $envelope->get('command_id'), [
                        'outcome' => $envelope->get('outcome'),
                        'error_code' => $envelope->get('error.code'),
                        'error_message' => $this->short($envelope->get('error.message')),
                    ] + array_filter([
                        'message_id' => $envelope->get('data.id'),
                        'chat_id' => $envelope->get('data.chat_id'),
                        'sent_at' => $envelope->moment('data.timestamp')?->format(Tables::MOMENT),
                    ]), $envelope->get('data.ack'));
                }
        }

        return true;
    }

    /** @param array<string, mixed> $values */
    private function save(Envelope $envelope, ?string $key, ?string $command, array $values, ?int $ack = null): bool
    {
        $columns = ['id', 'command_id', 'message_key', 'ack', 'outcome', 'reference'];
        $ofSession = fn () => $this->tables->query('messages')->where('session_id', $envelope->sessionId);
        $byCommand = $command === null ? null
            : $this->tables->query('messages')->where('workspace_id', $envelope->workspaceId)->where('command_id', $command)->first($columns);
        $row = $byCommand;
        if ($key !== null && ($byCommand === null || $byCommand->message_key !== $key)) {
            $byKey = $ofSession()->where('message_key', $key)->first($columns);
            if ($byCommand !== null && $byKey !== null) {
                // Something about the message came before its command was known: one row from now on.
                $this->tables->query('messages')->where('id', $byKey->id)->delete();
                $row->ack = $this->higher($row->ack, $byKey->ack);
            } else {
                $row ??= $byKey;
            }
        }
        $known = $row?->ack === null ? null : (int) $row->ack;
        $level = $this->higher($known, $ack);
        if (in_array($row->outcome ?? null, self::LAST_WORDS, true)) {
            unset($values['outcome'], $values['error_code'], $values['error_message']);
        }
        $values = array_filter($values, fn ($value, $name) => $value !== null || in_array($name, ['error_code', 'error_message'], true), ARRAY_FILTER_USE_BOTH);
        $values += array_filter(['message_key' => $key, 'command_id' => $command], fn ($value) => $value !== null);
        $now = Tables::now();
        $values += ['ack' => $level, 'updated_at' => $now];
        if ($level !== $known) {
            $values['acked_at'] = $envelope->occurredAt->format(Tables::MOMENT);
        }
        if ($row === null) {
            $this->tables->query('messages')->insert($values + [
                'workspace_id' => $envelope->workspaceId, 'session_id' => $envelope->sessionId, 'created_at' => $now,
                'direction' => $envelope->type === 'message.received' ? 'in' : 'out',
            ]);
        } else {
            $this->tables->query('messages')->where('id', $row->id)->update($values);
        }

        return $ack === null || $level !== $known;
    }

    /** The higher of two levels; a failure counts only for what was not sent yet. */
    private function higher(mixed $known, ?int $told): ?int
    {
        $known = $known === null ? null : (int) $known;

        return match (true) {
            $told === null => $known,
            $known === null => $told,
            $told === -1 => $known <= 0 ? -1 : $known,
            default => max($known, $told),
        };
    }

    private function content(Envelope $envelope): array
    {
        return [
            'message_id' => $envelope->get('id'),
            'chat_id' => $envelope->get('chat_id'),
            'sender_id' => $envelope->get('sender.id'),
            'sender_phone' => $envelope->get('sender.phone'),
            'sender_name' => $this->short($envelope->get('notify_name')),
            'kind' => $envelope->get('kind'),
            'text' => $this->text($envelope->get('text')),
            'has_media' => (bool) $envelope->get('has_media'),
            'quoted_id' => $envelope->get('quoted_id'),
            'reference' => $envelope->get('reference'),
            'source' => $envelope->get('source'),
            'sent_at' => $envelope->moment('timestamp')?->format(Tables::MOMENT),
        ];
    }

    private function text(?string $text): ?string
    {
        return $this->config->get('whatsapp.store_text') ? $text : null;
    }

    private function short(?string $text): ?string
    {
        return $text === null ? null : mb_substr($text, 0, 255);
    }

    private function chat(string $to): string
    {
        return str_contains($to, '@') ? $to : "{$to}@c.us";
    }
}
