// A TCP line to a port of this machine that can be cut.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

export class Proxy {
  constructor(target) {
    Object.assign(this, { target, isCut: false, sockets: new Set() })
  }

  async listen() {
    this.server = createServer((near) => {
      if (this.isCut) return near.destroy()
      const far = connect(this.target, '127.0.0.1')
      for (const [socket, other] of [[near, far], [far, near]]) {
        this.sockets.add(socket)
        socket.on('error', () => other.destroy())
        socket.on('close', () => {
          this.sockets.delete(socket)
          other.destroy()
        })
        socket.pipe(other)
      }
      return undefined
    })
    this.server.listen(0, '127.0.0.1')
    await once(this.server, 'listening')
    this.port = this.server.address().port
    return this
  }

  cut() {
    this.isCut = true
    for (const socket of this.sockets) socket.destroy()
  }

  mend() {
    this.isCut = false
  }

  async close() {
    this.cut()
    this.server.close()
    await once(this.server, 'close')
  }
}
