// The module runtime: what the real page's bundler leaves in every page it builds.
//
// Modules are registered by `__d(id, dependencies, factory, flags)` and executed when somebody first requires them.
// Users of the page reach them by three globals, and so does wa-js:
//   require(id)          the exports, or only the default export if there is no other
//   importNamespace(id)  the exports object itself: functions replaced on it are replaced for the page too
//   importDefault(id)    the default export
// `require('__debug').modulesMap` lists everything registered so far.
'use strict';

// `define` and `use` are what the other scripts of this page are written with. They are bindings of the scripts' shared
// scope and no properties of `window`.
const { define, use } = (() => {
  const modulesMap = {};

  function __d(id, dependencies, factory, flags) {
    if (!(id in modulesMap)) modulesMap[id] = { id, dependencies, factory, flags, module: null };
  }

  function execute(id) {
    const entry = modulesMap[id];
    if (!entry) throw new Error(`Requiring unknown module "${id}"`);
    if (!entry.module) {
      entry.module = { id, exports: {} };
      entry.factory(self, require, importDefault, importNamespace, requireLazy, entry.module, entry.module.exports);
    }
    return entry.module.exports;
  }

  const hasOnlyDefault = (exports) => 'default' in exports && Object.keys(exports).length === 1;

  function require(id) {
    if (id === '__debug') return { modulesMap };
    const exports = execute(id);
    return hasOnlyDefault(exports) ? exports.default : exports;
  }

  const importDefault = (id) => execute(id).default;
  const importNamespace = (id) => execute(id);
  const requireLazy = (ids, callback) => callback(...ids.map(require));

  Object.assign(self, {
    __d,
    require,
    importDefault,
    importNamespace,
    requireLazy,
    // Guards the page against exceptions in its own callbacks; wa-js asks it to let exceptions of modules through.
    ErrorGuard: { skipGuardGlobal() {} },
  });

  return {
    define: (id, factory) => __d(id, [], (...given) => factory(given[6], given[5])),
    use: importNamespace,
  };
})();

// The options the server wrote into the document.
const pageOptions = JSON.parse(document.getElementById('page-options').textContent);

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
