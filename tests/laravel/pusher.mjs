// A server of the Pusher protocol, version 7, as far as Laravel and Echo use it: private channels that need a signature,
// signed events over HTTP, and the size limit that Reverb and Pusher have.
import { createHash, createHmac, randomInt, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

const MAX_EVENT_BYTES = 10_000
const UNAUTHORIZED = 4009

export class Pusher {
  constructor({ id, key, secret, port = 0 }) {
    Object.assign(this, { id, key, secret, port, sockets: new Set(), published: [] })
  }

  async listen() {
    this.http = createServer((request, response) => this.#event(request, response))
    this.ws = new WebSocketServer({ server: this.http })
    this.ws.on('connection', (socket) => this.#connected(socket))
    this.http.listen(this.port, '127.0.0.1')
    await once(this.http, 'listening')
    this.port = this.http.address().port
    return this
  }

  async close() {
    for (const socket of this.sockets) socket.terminate()
    this.ws.close()
    this.http.closeAllConnections()
    this.http.close()
    await once(this.http, 'close')
  }

  subscribers(channel) {
    return [...this.sockets].filter((socket) => socket.channels.has(channel)).length
  }

  send(channel, event, data) {
    for (const socket of this.sockets) if (socket.channels.has(channel)) tell(socket, event, data, channel)
  }

  #sign(text) {
    return createHmac('sha256', this.secret).update(text).digest('hex')
  }

  #connected(socket) {
    socket.id = `${randomInt(1e6)}.${randomInt(1e6)}`
    socket.channels = new Set()
    this.sockets.add(socket)
    socket.on('close', () => this.sockets.delete(socket))
    socket.on('error', () => socket.terminate())
    socket.on('message', (text) => this.#asked(socket, JSON.parse(text)))
    tell(socket, 'pusher:connection_established', JSON.stringify({ socket_id: socket.id, activity_timeout: 30 }))
  }

  #asked(socket, { event, data }) {
    if (event === 'pusher:ping') return tell(socket, 'pusher:pong', {})
    if (event === 'pusher:unsubscribe') return socket.channels.delete(data.channel)
    if (event !== 'pusher:subscribe') return undefined
    const isPrivate = data.channel.startsWith('private-')
    if (isPrivate && data.auth !== `${this.key}:${this.#sign(`${socket.id}:${data.channel}`)}`) {
      return tell(socket, 'pusher:error', { code: UNAUTHORIZED, message: 'Connection is unauthorized' })
    }
    socket.channels.add(data.channel)
    return tell(socket, 'pusher_internal:subscription_succeeded', '{}', data.channel)
  }

  async #event(request, response) {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const url = new URL(request.url, 'http://pusher')
    const answer = (code, text) => response.writeHead(code).end(text)
    const signature = Buffer.from(url.searchParams.get('auth_signature') ?? '')
    url.searchParams.delete('auth_signature')
    const query = [...url.searchParams].sort().map(([name, value]) => `${name}=${value}`).join('&')
    const expected = Buffer.from(this.#sign(`${request.method}\n${url.pathname}\n${query}`))
    if (signature.length !== expected.length || !timingSafeEqual(signature, expected)
      || url.searchParams.get('body_md5') !== createHash('md5').update(body).digest('hex')) return answer(401, 'Invalid signature')
    if (url.pathname !== `/apps/${this.id}/events`) return answer(404, 'No such app')
    if (body.length > MAX_EVENT_BYTES) return answer(413, 'Payload too large')
    const { name, channels, data } = JSON.parse(body)
    for (const channel of channels) {
      this.published.push({ channel, name, data: JSON.parse(data) })
      this.send(channel, name, data)
    }
    return answer(200, '{}')
  }
}

function tell(socket, event, data, channel) {
  socket.send(JSON.stringify({ event, data, ...(channel === undefined ? {} : { channel }) }))
}
