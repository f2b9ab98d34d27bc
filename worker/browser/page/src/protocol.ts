// What crosses between the page and the worker. The other half is `src/page/` of the Rust crate;
// both sides change together, and VERSION says when they no longer understand each other.

export const VERSION = 3;

export interface Me {
  id: string;
  lid: string | null;
  name: string | null;
  platform: string | null;
}

export interface Status {
  stream_mode: string | null;
  stream_info: string | null;
  socket_state: string | null;
  registered: boolean;
  logged_in: boolean;
  me: Me | null;
  /** WhatsApp restricts the account: no first messages. Null: not known. */
  restricted: boolean | null;
  version: string | null;
}

export interface Message {
  key: string;
  id: string;
  chat_id: string;
  from_me: boolean;
  sender_id: string;
  sender_phone: string | null;
  sender_lid: string | null;
  kind: string;
  text: string | null;
  timestamp: number;
  ack: number;
  has_media: boolean;
  media_size: number | null;
  quoted_id: string | null;
  notify_name: string | null;
  source: 'this_session' | 'phone' | null;
  location: Location | null;
  contacts: { name: string | null; vcard: string }[];
  poll: { question: string; options: string[]; multiple: boolean } | null;
  media: Media | null;
  mentions: string[];
  forwarded: number | null;
  quoted: Quoted | null;
}

export interface Location {
  latitude: number;
  longitude: number;
  name: string | null;
  address: string | null;
  url: string | null;
}

export interface Media {
  mimetype: string | null;
  size: number | null;
  filename: string | null;
  seconds: number | null;
  width: number | null;
  height: number | null;
}

export interface Quoted {
  id: string;
  sender_id: string | null;
  kind: string | null;
  text: string | null;
}

/** Somebody, by all ids that the page knows. */
export interface Person {
  id: string;
  phone: string | null;
  lid: string | null;
}

/** What the server says of a number or an id. */
export interface ContactAnswer {
  on_whatsapp: boolean;
  phone: string | null;
  lid: string | null;
  business: boolean | null;
}

/** A mark by which a business sorts its chats. */
export interface Label {
  id: string;
  name: string;
  /** `#` and six hexadecimal digits. */
  color: string | null;
}

/** Something that is set for a group. */
export type GroupSetting = 'subject' | 'description' | 'announce' | 'restrict' | 'ephemeral';

/** How a group is called, and who may do what in it. */
export interface GroupSettings {
  subject: string | null;
  description: string | null;
  announce: boolean;
  restrict: boolean;
  /** Seconds after which new messages disappear; 0: never. */
  ephemeral: number;
}

/** What happened to people in a group. */
export type GroupDeed = 'add' | 'join' | 'remove' | 'leave' | 'promote' | 'demote';

/** What somebody did to a message that is there. */
interface Happening {
  key: string;
  chat_id: string;
  sender: Person;
  from_me: boolean;
  at_ms: number;
}

export interface Ack {
  keys: string[];
  chat_id: string;
  sender_id: string | null;
  ack: number;
}

export interface Capabilities {
  tried: number;
  missing: string[];
  version: string | null;
  library: string | null;
}

/** A message to send. */
export interface Draft {
  to: string;
  message_id: string;
  content: Content;
  /** The key of the message that it answers. */
  reply_to: string | null;
}

/** A file that the worker has put into the page. */
export interface MediaContent {
  kind: 'media';
  as: 'image' | 'video' | 'video_note' | 'audio' | 'voice' | 'document' | 'sticker';
  /** The name under which it was put in. */
  file: string;
  mime: string;
  filename: string;
  caption: string | null;
}

export type Content =
  | MediaContent
  | { kind: 'text'; text: string; mentions: string[]; link_preview: boolean; background: string | null }
  | {
      kind: 'location';
      latitude: number;
      longitude: number;
      name: string | null;
      address: string | null;
      url: string | null;
    }
  | { kind: 'contact'; contacts: { name: string; vcard: string }[] }
  | { kind: 'poll'; question: string; options: string[]; multiple: boolean }
  | { kind: 'forward'; message: string };

export interface Sent {
  key: string;
  chat_id: string;
  ack: number;
  found: boolean;
  timestamp: number;
}

/** WebAuthn's PublicKeyCredentialRequestOptionsJSON: bytes are base64url. */
export interface PasskeyRequest {
  challenge: string;
  rpId?: string;
  userVerification?: string;
  timeout?: number;
  allowCredentials?: { id: string; type: string; transports?: string[] }[];
}

/** WebAuthn's AuthenticationResponseJSON. */
export interface Assertion {
  id: string;
  rawId: string;
  type: string;
  authenticatorAttachment?: string | null;
  response: { clientDataJSON: string; authenticatorData: string; signature: string; userHandle?: string | null };
  clientExtensionResults?: Record<string, unknown> | null;
}

/** How far the adapter has come in this document. */
export type Phase =
  /** WhatsApp's core modules are there. */
  | 'probed'
  /** wa-js has been started and is getting ready. */
  | 'library';

export type Event =
  | { type: 'phase'; phase: Phase }
  | { type: 'state'; status: Status }
  | { type: 'qr'; code: string; first: boolean }
  | { type: 'qr_idle' }
  | { type: 'link_code'; code: string; expires_at: number | null }
  /** The page has the answer to its request for a passkey. */
  | { type: 'passkey_answered' }
  | { type: 'passkey'; id: string; request: PasskeyRequest; origin: string; expires_at: number }
  | { type: 'ready'; capabilities: Capabilities }
  | { type: 'message'; message: Message }
  | { type: 'ack'; ack: Ack }
  | { type: 'edited'; message: Message; at_ms: number | null }
  | { type: 'revoked'; key: string; chat_id: string; from_me: boolean }
  | ({ type: 'reaction'; emoji: string | null } & Happening)
  | ({ type: 'vote'; options: string[] } & Happening)
  /** A message that cannot be read yet. */
  | { type: 'waiting'; message: Message }
  | {
      type: 'presence';
      chat_id: string;
      participant: string | null;
      state: 'available' | 'unavailable' | 'typing' | 'recording';
    }
  | { type: 'group'; chat_id: string; change: GroupDeed; author: Person | null; participants: Person[] }
  | ({ type: 'group_update'; chat_id: string; changed: GroupSetting[] } & GroupSettings)
  /** WhatsApp's server has not acknowledged an own message for long. */
  | { type: 'stalled'; key: string; chat_id: string; at_ms: number }
  | ({ type: 'label'; deleted: boolean } & Label)
  | { type: 'chat_label'; chat_id: string; label_id: string; label: string | null; labelled: boolean }
  | { type: 'call'; id: string; sender: Person; video: boolean; group: boolean; at_ms: number }
  /** The line looks open, and the server does not answer. */
  | { type: 'silent'; for_ms: number }
  | { type: 'fault'; what: string };

/** What goes through the binding: numbered from 1 in each document, so that a loss shows. */
export interface Batch {
  v: typeof VERSION;
  seq: number;
  events: Event[];
}

export interface CallError {
  name: string;
  code: string | null;
  message: string;
}

/** Every call answers with one of the two, by value. */
export type Answer = { ok: unknown } | { err: CallError };

export interface Options {
  /** The name of the binding that takes batches. */
  binding: string;
  /** Milliseconds without a sign of the server after which it is asked for one. */
  quiet_ms: number;
  /** Milliseconds without an ack after which an own message counts as stalled. */
  stalled_ms: number;
  /** Unix milliseconds: the adapter refuses to send after it, until it hears of a later one. */
  owned_until: number;
}
