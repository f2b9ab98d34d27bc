// The wire to the cloud: JSON frames over one WebSocket, requests with answers, and a pulse that notices dead lines.
'use strict';

define('PageSocket', (exports) => {
  // A refusal by the cloud has its code; a lost line has none.
  class RequestError extends Error {
    constructor(message, code) {
      super(message);
      this.code = code;
    }
  }

  class Line {
    #socket;
    #callbacks;
    #requests = new Map();
    #lastRequest = 0;
    #heardAt = performance.now();
    #pulse;
    #over = false;
    #wasOpen = false;

    constructor(callbacks) {
      this.#callbacks = callbacks;
      this.#socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws/chat`);
      this.#socket.onopen = () => {
        this.#wasOpen = true;
        this.#pulse = setInterval(() => this.#beat(), Math.min(pageOptions.ping_ms, pageOptions.dead_socket_ms));
        callbacks.opened();
      };
      this.#socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
      this.#socket.onclose = () => this.end();
    }

    say(frame) {
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
    }

    request(kind, fields) {
      if (this.#over || this.#socket.readyState !== WebSocket.OPEN) {
        return Promise.reject(new RequestError('disconnected'));
      }
      const q = ++this.#lastRequest;
      this.say({ t: kind, q, ...fields });
      return new Promise((resolve, reject) => this.#requests.set(q, { resolve, reject }));
    }

    // Does not wait for a closing handshake: on a dead line nobody would answer.
    end() {
      if (this.#over) return;
      this.#over = true;
      clearInterval(this.#pulse);
      this.#socket.close();
      for (const { reject } of this.#requests.values()) reject(new RequestError('disconnected'));
      this.#requests.clear();
      this.#callbacks.ended(this.#wasOpen);
    }

    #hear(frame) {
      if (this.#over) return;
      this.#heardAt = performance.now();
      if (frame.t === 'pong') return;
      if (frame.t !== 'reply') return this.#callbacks.heard(frame);
      const request = this.#requests.get(frame.q);
      this.#requests.delete(frame.q);
      if (frame.error) request?.reject(new RequestError(`refused with ${frame.error}`, frame.error));
      else request?.resolve(frame.ok);
    }

    #beat() {
      const quiet = performance.now() - this.#heardAt;
      if (quiet > pageOptions.ping_ms + pageOptions.dead_socket_ms) this.end();
      else if (quiet >= pageOptions.ping_ms) this.say({ t: 'ping' });
    }
  }

  let line = null;
  exports.dial = (callbacks) => (line = new Line(callbacks));
  exports.hangUp = () => line?.end();
  exports.say = (frame) => line?.say(frame);
  exports.request = (kind, fields) =>
    line ? line.request(kind, fields) : Promise.reject(new RequestError('disconnected'));
});
