#!/usr/bin/env node
// Holds vectors/signing.json against a verifier of its own, with Node's own modules only. Exits 1 on any difference.
// `verify` is also how to check an event in JavaScript.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'

const HEADERS = ['x-wa-key', 'x-wa-audience', 'type', 'message_id', 'x-wa-workspace', 'x-wa-session',
  'x-wa-issued-at', 'x-wa-expires-at', 'content_type']
const ROLES = { 'wa.commands': ['commands', 'ops'], 'wa.events': ['events'] }
const MAX_BODY = 1 << 20, MAX_HEADER = 512, MAX_LIFETIME = 30n * 86400n, MAX_SKEW = 300n

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')
const canonicalString = (fields, body) => ['WA1', ...fields, sha256(body), ''].join('\n')

/** null when the message is to be believed, else the reason why not. */
function verify(ring, properties, headers, body, audience, nowSecs) {
  const now = BigInt(nowSecs)
  if (body.length > MAX_BODY) return 'too_large'
  if (!('x-wa-signature' in headers)) return 'unsigned'
  const values = { ...headers, ...properties }
  for (const name of ['x-wa-signature', ...HEADERS]) {
    if (!(name in values)) return 'missing_header'
    if (typeof values[name] !== 'string') return 'header_not_text'
    if (Buffer.byteLength(values[name]) > MAX_HEADER) return 'header_too_long'
  }
  const fields = HEADERS.map((name) => values[name])
  const [keyId, signedAudience, , messageId, workspace, session, issuedAt, expiresAt, contentType] = fields

  const encoded = /^WA1=([A-Za-z0-9_-]{43})$/.exec(values['x-wa-signature'])?.[1]
  if (encoded === undefined) return 'malformed_signature'
  const tag = Buffer.from(encoded, 'base64url')
  if (tag.toString('base64url') !== encoded) return 'malformed_signature'
  const key = ring.keys.find((key) => key.id === keyId)
  if (key === undefined) return 'unknown_key'
  if (fields.some((field) => /[\u0000-\u001f\u007f-\u009f]/.test(field))) return 'malformed_header'
  const expected = createHmac('sha256', Buffer.from(key.secret, 'base64')).update(canonicalString(fields, body)).digest()
  if (!timingSafeEqual(expected, tag)) return 'bad_signature'

  if (key.not_after !== null && nowSecs > Date.parse(key.not_after) / 1000) return 'key_expired'
  if (signedAudience !== audience) return 'wrong_audience'
  if (!ROLES[audience].includes(key.role)) return 'wrong_role'
  if (!/^[1-9][0-9]{0,15}$/.test(workspace) || !Number.isSafeInteger(Number(workspace))) return 'bad_id'
  if (key.workspaces[0] !== '*' && !key.workspaces.includes(Number(workspace))) return 'foreign_scope'
  if (contentType !== 'application/json') return 'bad_content_type'
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(messageId)) return 'bad_id'
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(session)) return 'bad_id'
  if (![issuedAt, expiresAt].every((time) => /^(0|[1-9][0-9]{0,18})$/.test(time))) return 'malformed_header'
  if (audience === 'wa.events' && !/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(messageId)) return 'bad_id'
  const [issued, expires] = [BigInt(issuedAt), BigInt(expiresAt)]
  if (issued > now + MAX_SKEW) return 'issued_in_future'
  if (expires - issued > MAX_LIFETIME) return 'lifetime_too_long'
  if (expires <= now || expires <= issued) return 'expired'
  return null
}

const bodyOf = ({ body }) =>
  'base64' in body ? Buffer.from(body.base64, 'base64') : Buffer.from('text' in body ? body.text : body.repeat.repeat(body.times))

const vectors = JSON.parse(readFileSync(new URL('signing.json', import.meta.url), 'utf8'))
const wrong = []
for (const vector of [...vectors.accepted, ...vectors.refused]) {
  const body = bodyOf(vector)
  const reason = verify(vectors.keyring, vector.properties, vector.headers, body, vector.verify_as, vector.now)
  if (reason !== (vector.reason ?? null)) wrong.push(`${vector.name}: ${reason} instead of ${vector.reason}`)
  if ('canonical' in vector) {
    const values = { ...vector.headers, ...vector.properties }
    if (canonicalString(HEADERS.map((name) => values[name]), body) !== vector.canonical) wrong.push(`${vector.name}: another canonical string`)
    if (sha256(body) !== vector.body_sha256) wrong.push(`${vector.name}: another body hash`)
  }
}
for (const line of wrong) console.error(line)
console.log(`check.mjs: ${vectors.accepted.length} accepted, ${vectors.refused.length} refused, ${wrong.length} wrong`)
process.exitCode = wrong.length > 0 || vectors.accepted.length === 0 || vectors.refused.length === 0 ? 1 : 0
