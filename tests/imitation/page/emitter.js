// The event emitter behind every model and collection.
'use strict';

define('WAWebEventEmitter', (exports) => {
  class EventEmitter {
    #listeners = new Map();

    on(names, callback, context) {
      if (typeof callback !== 'function') throw new TypeError('Callback parameter passed is not a function');
      for (const name of names.split(' ')) {
        if (!this.#listeners.has(name)) this.#listeners.set(name, []);
        this.#listeners.get(name).push({ callback, context });
      }
      return this;
    }

    once(names, callback, context) {
      const onlyOnce = (...given) => {
        this.off(names, onlyOnce);
        callback.apply(context ?? this, given);
      };
      onlyOnce.wraps = callback;
      return this.on(names, onlyOnce);
    }

    off(names, callback) {
      if (!names) this.#listeners.clear();
      for (const name of names ? names.split(' ') : []) {
        const kept = (this.#listeners.get(name) ?? []).filter(
          (listener) => callback && listener.callback !== callback && listener.callback.wraps !== callback,
        );
        this.#listeners.set(name, kept);
      }
      return this;
    }

    // A listener that throws must not keep the others from hearing.
    trigger(name, ...given) {
      const listeners = this.#listeners.get(name) ?? [];
      for (const { callback, context } of [...listeners]) {
        try {
          callback.apply(context ?? this, given);
        } catch (error) {
          console.error(`a listener of ${name} threw`, error);
        }
      }
      if (name !== 'all' && this.#listeners.has('all')) this.trigger('all', name, ...given);
      return this;
    }

    listenTo(other, names, callback) {
      other.on(names, callback, this);
      return this;
    }

    stopListening(other, names, callback) {
      other?.off(names, callback);
      return this;
    }
  }
  EventEmitter.prototype.addListener = EventEmitter.prototype.on;
  EventEmitter.prototype.removeListener = EventEmitter.prototype.off;
  EventEmitter.prototype.emit = EventEmitter.prototype.trigger;

  exports.default = EventEmitter;
});
