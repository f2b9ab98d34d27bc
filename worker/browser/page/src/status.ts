// Where the page stands, read from its own models: on every event of theirs, and once a second,
// because some changes (an unlinked device) raise no event at all.

import type { Outbox } from './outbox';
import type { Me, Status } from './protocol';
import { userOrNull } from './ids';
import { site, version } from './site';

const LOOK_EVERY_MS = 1000;

/** Reads what may not be there. Early in a page's life much is not, so a failure means: not known. */
function attempt<T>(read: () => T): T | null {
  try {
    return read() ?? null;
  } catch {
    return null;
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

export function isRegistered(): boolean {
  return attempt(() => site('WAWebUserPrefsMultiDevice').isRegistered()) === true;
}

export function streamMode(): string | null {
  return text(attempt(() => site('WAWebStreamModel').Stream.mode));
}

export function socketState(): string | null {
  return text(attempt(() => site('WAWebSocketModel').Socket.state));
}

function me(): Me | null {
  const prefs = attempt(() => site('WAWebUserPrefsMeUser'));
  const id = userOrNull(attempt(() => prefs?.getMaybeMePnUser()));
  if (id === null) return null;
  const conn = attempt(() => site('WAWebConnModel').Conn);
  return {
    id,
    lid: userOrNull(attempt(() => prefs?.getMaybeMeLidUser())),
    name: text(attempt(() => prefs?.getMaybeMeDisplayName())) ?? text(conn?.pushname),
    platform: text(conn?.platform),
  };
}

export function status(): Status {
  const login = attempt(() => site('WAWebUserPrefsIsLoggedIn'));
  const registered = isRegistered();
  return {
    stream_mode: streamMode(),
    stream_info: text(attempt(() => site('WAWebStreamModel').Stream.info)),
    socket_state: socketState(),
    registered,
    logged_in: attempt(() => (login?.isLoggedIn ?? login?.isAuthenticated)?.()) === true,
    // A page that has just been unlinked still remembers whose it was.
    me: registered ? me() : null,
    restricted: attempt(() => site('WAWebReachoutTimelockUtils').isUserReachoutTimelocked()),
    version: version(),
  };
}

/** Watches the models and reports what changed; `onLook` runs after each look. */
export function watchStatus(outbox: Outbox, onLook: (now: Status) => void): void {
  let last = '';
  const look = () => {
    const now = status();
    const text = JSON.stringify(now);
    if (text !== last) {
      last = text;
      outbox.push({ type: 'state', status: now });
    }
    onLook(now);
  };
  const { Conn } = site('WAWebConnModel');
  const { Stream } = site('WAWebStreamModel');
  const { Socket } = site('WAWebSocketModel');
  Stream.on('change:mode change:info', look);
  Socket.on('change:state change:stream', look);
  Conn.on('change:ref change:connected change:platform change:pushname', look);
  setInterval(look, LOOK_EVERY_MS);
  look();
}
