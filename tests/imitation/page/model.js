// Models: named values that announce their changes, on the model and on every collection that holds it.
'use strict';

define('WAWebBaseModel', (exports) => {
  const EventEmitter = use('WAWebEventEmitter').default;

  class BaseModel extends EventEmitter {
    #values = {};
    #collections = new Set();

    constructor(values = {}) {
      super();
      this.set({ ...this.constructor.defaults, ...values }, { silent: true });
    }

    get attributes() {
      return { ...this.#values };
    }

    get collections() {
      return this.#collections;
    }

    // `set(name, value)` or `set({ name: value })`. Announces `change:name` for each value that differs, then `change`.
    set(nameOrValues, valueOrOptions, lastOptions) {
      const one = typeof nameOrValues === 'string';
      const values = one ? { [nameOrValues]: valueOrOptions } : nameOrValues;
      const { silent } = (one ? lastOptions : valueOrOptions) ?? {};
      const changes = [];
      for (const [name, value] of Object.entries(values)) {
        this.#expose(name);
        const before = this.#values[name];
        if (before === value) continue;
        this.#values[name] = value;
        changes.push({ name, value, before });
      }
      if (!silent) {
        for (const { name, value, before } of changes) this.tellOf(`change:${name}`, this, value, before);
        if (changes.length > 0) this.tellOf('change', this);
      }
      return this;
    }

    unset(name) {
      return this.set(name, undefined);
    }

    tellOf(name, ...given) {
      this.trigger(name, ...given);
      for (const collection of this.#collections) collection.trigger(name, ...given);
    }

    toJSON() {
      return this.attributes;
    }

    serialize() {
      return this.attributes;
    }

    // An own accessor per value: writing `model.name = value` is a change like any other, and the prototype stays clean,
    // because wa-js adds getters to prototypes for whatever is undefined there.
    #expose(name) {
      if (Object.hasOwn(this, name)) return;
      Object.defineProperty(this, name, {
        enumerable: true,
        configurable: true,
        get: () => this.#values[name],
        set: (value) => this.set(name, value),
      });
    }
  }

  exports.BaseModel = BaseModel;
  // The real page declares models by this; it also gives them the name by which wa-js recognises them.
  exports.defineModel = (proxyName, Model) => {
    Model.prototype.proxyName = proxyName;
    return Model;
  };
});
