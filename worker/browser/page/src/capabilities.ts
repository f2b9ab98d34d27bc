// The self-test: every binding of wa-js and of WhatsApp that this adapter uses is touched once.
// WhatsApp publishes several builds a day, so one of them will miss something some day; then it is
// known by name, and the session goes on with the rest.

import type { Library } from './library';
import type { Capabilities } from './protocol';
import { site, version } from './site';

type Binding = [name: string, touch: (library: Library) => unknown];

const BINDINGS: Binding[] = [
  ['Conn', (w) => w.whatsapp.Conn],
  ['Stream', (w) => w.whatsapp.Stream],
  ['Socket', (w) => w.whatsapp.Socket],
  ['Socket.logout', (w) => w.whatsapp.Socket.logout],
  ['BackendEventBus.triggerRefreshQR', () => site('WAWebBackendEventBus').BackendEventBus.triggerRefreshQR],
  ['isRegistered', (w) => w.whatsapp.functions.isRegistered],
  ['isLoggedIn', (w) => w.whatsapp.functions.isAuthenticated ?? w.whatsapp.functions.isLoggedIn],
  ['UserPrefs.getMaybeMePnUser', (w) => w.whatsapp.UserPrefs.getMaybeMePnUser],
  ['UserPrefs.getMaybeMeLidUser', (w) => w.whatsapp.UserPrefs.getMaybeMeLidUser],
  ['waNoiseInfo.get', (w) => w.whatsapp.multidevice.waNoiseInfo.get],
  ['waSignalStore.getRegistrationInfo', (w) => w.whatsapp.multidevice.waSignalStore.getRegistrationInfo],
  ['adv.getADVSecretKey', (w) => w.whatsapp.multidevice.adv.getADVSecretKey],
  ['Base64.encodeB64', (w) => w.whatsapp.Base64.encodeB64],
  ['ChatStore', (w) => w.whatsapp.ChatStore.getModelsArray],
  ['MsgStore', (w) => w.whatsapp.MsgStore.get],
  ['MsgKey.fromString', (w) => w.whatsapp.MsgKey.fromString],
  ['WidFactory.createWid', (w) => w.whatsapp.WidFactory.createWid],
  ['lidPnCache.getCurrentLid', (w) => w.whatsapp.lidPnCache.getCurrentLid],
  ['lidPnCache.getPhoneNumber', (w) => w.whatsapp.lidPnCache.getPhoneNumber],
  ['findOrCreateLatestChat', (w) => w.whatsapp.functions.findOrCreateLatestChat],
  ['queryWidExists', (w) => w.whatsapp.functions.queryWidExists],
  ['addAndSendMsgToChat', (w) => w.whatsapp.functions.addAndSendMsgToChat],
  ['MediaPrep', (w) => w.whatsapp.MediaPrep],
  ['OpaqueData', (w) => w.whatsapp.OpaqueData],
  ['uploadMedia', (w) => w.whatsapp.functions.uploadMedia],
  ['findFirstWebLink', (w) => w.whatsapp.functions.findFirstWebLink],
  ['fetchLinkPreview', (w) => w.whatsapp.functions.fetchLinkPreview],
  ['canReplyMsg', (w) => w.whatsapp.functions.canReplyMsg],
  ['getEphemeralFields', (w) => w.whatsapp.functions.getEphemeralFields],
  ['unixTime', (w) => w.whatsapp.functions.unixTime],
  ['getSearchContext', (w) => w.whatsapp.functions.getSearchContext],
  ['msgFindByDirection', (w) => w.whatsapp.functions.msgFindByDirection],
  ['handleChatSimpleReceipt', (w) => w.whatsapp.functions.handleChatSimpleReceipt],
  ['handleGroupSimpleReceipt', (w) => w.whatsapp.functions.handleGroupSimpleReceipt],
  ['initializeAltDeviceLinking', (w) => w.whatsapp.functions.initializeAltDeviceLinking],
  ['genLinkDeviceCodeForPhoneNumber', (w) => w.whatsapp.functions.genLinkDeviceCodeForPhoneNumber],
  ['sendReactionToMsg', (w) => w.whatsapp.functions.sendReactionToMsg],
  ['addAndSendMessageEdit', (w) => w.whatsapp.functions.addAndSendMessageEdit],
  ['canEditMsg', (w) => w.whatsapp.functions.canEditMsg],
  ['createOrUpdateReactions', (w) => w.whatsapp.functions.createOrUpdateReactions],
  ['upsertVotes', (w) => w.whatsapp.functions.upsertVotes],
  ['Cmd.sendRevokeMsgs', (w) => (w.whatsapp.Cmd as unknown as Record<string, unknown>).sendRevokeMsgs],
  ['Cmd.sendStarMsgs', (w) => (w.whatsapp.Cmd as unknown as Record<string, unknown>).sendStarMsgs],
  ['Cmd.archiveChat', (w) => (w.whatsapp.Cmd as unknown as Record<string, unknown>).archiveChat],
  ['sendSeen', (w) => w.whatsapp.functions.sendSeen],
  ['setPin', (w) => w.whatsapp.functions.setPin],
  ['blockContact', (w) => w.whatsapp.functions.blockContact],
  ['ChatPresence.markComposing', (w) => w.whatsapp.ChatPresence.markComposing],
  ['CallStore', (w) => w.whatsapp.CallStore],
  ['sendPinInChatMsg', (w) => w.whatsapp.functions.sendPinInChatMsg],
  ['PinInChatStore', (w) => w.whatsapp.PinInChatStore],
  ['LabelCollection.addOrRemoveLabels', () => (site('WAWebLabelCollection').LabelCollection as Record<string, unknown>).addOrRemoveLabels],
  ['StatusV3Store', (w) => w.whatsapp.StatusV3Store],
  ['status.sendTextStatus', (w) => w.status.sendTextStatus],
  ['GroupMetadataStore', (w) => w.whatsapp.GroupMetadataStore],
  ['updateDBForGroupAction', (w) => w.whatsapp.functions.updateDBForGroupAction],
  ['sendAddParticipants', (w) => w.whatsapp.functions.sendAddParticipants],
  ['removeParticipants', (w) => w.whatsapp.functions.removeParticipants],
  ['sendSetGroupSubject', (w) => w.whatsapp.functions.sendSetGroupSubject],
  ['sendSetPicture', (w) => w.whatsapp.functions.sendSetPicture],
  ['requestDeletePicture', (w) => w.whatsapp.functions.requestDeletePicture],
  ['sendExitGroup', (w) => w.whatsapp.functions.sendExitGroup],
  ['chat.find', (w) => w.chat.find],
  ['chat.getMessageById', (w) => w.chat.getMessageById],
  ['chat.getMessages', (w) => w.chat.getMessages],
  ['chat.sendRawMessage', (w) => w.chat.sendRawMessage],
  ['chat.sendFileMessage', (w) => w.chat.sendFileMessage],
  ['chat.downloadMedia', (w) => w.chat.downloadMedia],
  ['conn.genLinkDeviceCodeForPhoneNumber', (w) => w.conn.genLinkDeviceCodeForPhoneNumber],
];

function isThere(touch: () => unknown): boolean {
  try {
    const value = touch();
    return value !== undefined && value !== null;
  } catch {
    return false;
  }
}

export function capabilities(library: Library): Capabilities {
  const missing = BINDINGS.filter(([, touch]) => !isThere(() => touch(library)));
  return {
    tried: BINDINGS.length,
    missing: missing.map(([name]) => name),
    version: version(),
    library: library.version,
  };
}
