// Collections of models, indexed by id.
'use strict';

define('WAWebCollection', (exports) => {
  const EventEmitter = use('WAWebEventEmitter').default;

  // An id may come as a string, as a Wid or MsgKey, or as something that has an id.
  const keyOf = (named) => {
    if (named == null) return undefined;
    if (typeof named !== 'object' || named.toString !== Object.prototype.toString) return String(named);
    return named._serialized ?? keyOf(named.id);
  };

  class Collection extends EventEmitter {
    #index = new Map();

    get modelClass() {
      if (!this.constructor.model) throw new Error('Collection initialized without model');
      return this.constructor.model;
    }

    get length() {
      return this.#index.size;
    }

    get models() {
      return [...this.#index.values()];
    }

    get(id) {
      return this.#index.get(keyOf(id));
    }

    assertGet(id) {
      const model = this.get(id);
      if (!model) throw new Error(`nothing has the id ${id}`);
      return model;
    }

    // Adds models or plain values. What is there already stays; with `merge` it takes the new values.
    add(given, { merge, silent } = {}) {
      return [given].flat().map((values) => {
        const known = this.get(values);
        if (known) {
          if (merge) known.set(values instanceof this.modelClass ? values.attributes : values);
          return known;
        }
        const model = values instanceof this.modelClass ? values : new this.modelClass(values);
        model.collections.add(this);
        this.#index.set(keyOf(model), model);
        if (!silent) this.trigger('add', model, this);
        return model;
      });
    }

    // Gets or adds.
    gadd(id, values = {}) {
      return this.get(id) ?? this.add({ ...values, id })[0];
    }

    async find(id) {
      return this.gadd(id);
    }

    remove(id) {
      const model = this.get(id);
      if (!model) return undefined;
      this.#index.delete(keyOf(model));
      model.collections.delete(this);
      this.trigger('remove', model, this);
      return model;
    }

    reset() {
      for (const model of this.models) this.remove(model);
    }

    getModelsArray() {
      return this.models;
    }

    toArray() {
      return this.models;
    }

    map(callback) {
      return this.models.map(callback);
    }

    filter(callback) {
      return this.models.filter(callback);
    }

    forEach(callback) {
      this.models.forEach(callback);
    }

    some(callback) {
      return this.models.some(callback);
    }

    every(callback) {
      return this.models.every(callback);
    }

    findFirst(callback) {
      return this.models.find(callback);
    }

    head() {
      return this.models[0];
    }

    last() {
      return this.models.at(-1);
    }

    [Symbol.iterator]() {
      return this.models[Symbol.iterator]();
    }
  }

  exports.default = Collection;
});

define('WAWebBaseCollection', (exports) => {
  exports.BaseCollection = use('WAWebCollection').default;
});
