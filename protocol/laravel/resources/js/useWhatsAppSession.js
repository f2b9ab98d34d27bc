// A WhatsApp session on a page: its status, the QR that is on show as a picture, and how long it still holds.
//
// Needs vue and qrcode from npm, and Laravel Echo. WebSockets replay nothing, so the state is fetched whenever the channel is
// subscribed, again after every reconnection too; and because a fetch and a broadcast may overtake each other, whatever is
// older than what is shown is ignored: (epoch, seq) only grows.
import { computed, onScopeDispose, reactive, toRefs } from 'vue'
import QRCode from 'qrcode'

const EVENTS = ['.WhatsAppQRGenerated', '.WhatsAppLinkCodeGenerated', '.WhatsAppSessionStatusChanged']
const TICK_MS = 250

/**
 * @param {object} options
 * @param {number} options.workspaceId  whose session it is: the private channel `workspace.<id>`
 * @param {string} options.sessionId  the session's `session_id`
 * @param {() => Promise<object>} options.fetchState  what `$session->forPage()` returns, from a route of yours
 * @param {object} [options.echo]  Laravel Echo; without it `window.Echo`
 * @param {string} [options.channel]  another channel, if `whatsapp.broadcasting.channel` says so
 * @param {number} [options.size]  of the picture, in pixels
 */
export function useWhatsAppSession({ workspaceId, sessionId, fetchState, echo = window.Echo, channel = `workspace.${workspaceId}`, size = 264 }) {
  const state = reactive({
    status: 'initializing', cause: null, phone: null, health: null,
    qr: null, qrImage: null, code: null, attempt: null, max: null, secondsLeft: null,
    epoch: 0, seq: 0, error: null,
  })
  let deadline = null
  let disposed = false

  const isOlder = ({ epoch, seq }) => epoch < state.epoch || (epoch === state.epoch && seq <= state.seq)

  function tick() {
    state.secondsLeft = deadline === null ? null : Math.max(0, Math.ceil((deadline - performance.now()) / 1000))
  }

  function show({ qr = null, code = null, attempt = null, max = null, expires_at: expiresAt = null, sent_at: sentAt }) {
    // By the server's clock: the one of the page may be wrong.
    deadline = expiresAt === null ? null : performance.now() + Date.parse(expiresAt) - Date.parse(sentAt)
    Object.assign(state, { qr, code, attempt, max })
    tick()
    if (qr === null) {
      state.qrImage = null
    } else {
      QRCode.toDataURL(qr, { width: size, margin: 2 }).then((image) => {
        if (state.qr === qr) state.qrImage = image
      })
    }
  }

  /** Takes an event or a fetched state. Returns whether it was newer than what is shown. */
  function apply(told) {
    if (disposed || told.session_id !== sessionId || isOlder(told)) return false
    Object.assign(state, { epoch: told.epoch, seq: told.seq })
    if (told.status === undefined) {
      state.status = 'qr_required'
      show(told)
      return true
    }
    Object.assign(state, { status: told.status, cause: told.cause, phone: told.phone ?? state.phone, health: told.health })
    if (told.status !== 'qr_required') show({})
    else if ('qr' in told) show(told)
    return true
  }

  async function refresh() {
    try {
      apply(await fetchState())
      state.error = null
    } catch (error) {
      if (!disposed) state.error = error
    }
  }

  const timer = setInterval(tick, TICK_MS)
  const subscription = echo.private(channel)
  for (const event of EVENTS) subscription.listen(event, apply)
  subscription.subscribed(refresh)
  subscription.error((error) => {
    if (!disposed) state.error = error
  })
  // The channel may have been subscribed before, by something else on the page.
  refresh()

  onScopeDispose(() => {
    disposed = true
    clearInterval(timer)
    // Not `leave`: others may listen on the same channel.
    for (const event of EVENTS) subscription.stopListening(event, apply)
  })

  return {
    ...toRefs(state),
    isConnected: computed(() => state.status === 'connected'),
    isExpired: computed(() => state.secondsLeft === 0),
    refresh,
  }
}
