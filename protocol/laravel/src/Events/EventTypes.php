<?php

namespace Wafleet\Laravel\Events;

use Wafleet\Laravel\Inbox\Envelope;

/** From the types on the wire to the classes here. */
final class EventTypes
{
    public const CLASSES = [
        'session.status' => WhatsAppSessionStatusChanged::class,
        'session.qr' => WhatsAppQRGenerated::class,
        'session.code' => WhatsAppLinkCodeGenerated::class,
        'session.passkey' => WhatsAppPasskeyRequested::class,
        'message.received' => WhatsAppMessageReceived::class,
        'message.sent' => WhatsAppMessageSent::class,
        'message.ack' => WhatsAppMessageAcked::class,
        'message.edited' => WhatsAppMessageEdited::class,
        'message.revoked' => WhatsAppMessageRevoked::class,
        'message.reaction' => WhatsAppMessageReaction::class,
        'message.waiting' => WhatsAppMessageWaiting::class,
        'message.media' => WhatsAppMessageMedia::class,
        'poll.vote' => WhatsAppPollVoted::class,
        'presence.update' => WhatsAppPresenceChanged::class,
        'call.received' => WhatsAppCallReceived::class,
        'group.participants' => WhatsAppGroupParticipantsChanged::class,
        'group.update' => WhatsAppGroupUpdated::class,
        'label.update' => WhatsAppLabelUpdated::class,
        'chat.label' => WhatsAppChatLabelled::class,
        'campaign.progress' => WhatsAppCampaignProgress::class,
        'sync.progress' => WhatsAppSyncProgress::class,
        'sync.chats' => WhatsAppSyncedChats::class,
        'sync.messages' => WhatsAppSyncedMessages::class,
        'sync.groups' => WhatsAppSyncedGroups::class,
        'contact.mapping' => WhatsAppContactMapped::class,
        'message.stalled' => WhatsAppMessageStalled::class,
        'command.result' => WhatsAppCommandFinished::class,
        'runtime.incompatible' => WhatsAppRuntimeIncompatible::class,
    ];

    /** @param bool $advanced of an ack: whether it raised the message's level */
    public static function event(Envelope $envelope, bool $advanced = true): Event
    {
        if ($envelope->version !== Envelope::VERSION) {
            return new WhatsAppUnknownEvent($envelope);
        }

        return match (self::CLASSES[$envelope->type] ?? null) {
            null => new WhatsAppUnknownEvent($envelope),
            WhatsAppMessageAcked::class => new WhatsAppMessageAcked($envelope, $advanced),
            WhatsAppCommandFinished::class => match ($envelope->get('outcome')) {
                'succeeded', 'failed', 'unknown' => new WhatsAppCommandFinished($envelope),
                'deferred' => new WhatsAppCommandDeferred($envelope),
                default => new WhatsAppUnknownEvent($envelope),
            },
            default => new (self::CLASSES[$envelope->type])($envelope),
        };
    }
}
