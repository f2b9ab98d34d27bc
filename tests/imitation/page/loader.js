// Loads the module bundles in the order and at the pace of the real page: ballast and foundations first, the modules that
// matter later. On a cold load of the real page there are pauses between bundles, long enough for a library that was
// injected too early to believe that no more modules will come. The modules of one bundle appear all at once.
'use strict';

(() => {
  const load = (path) =>
    new Promise((resolve, reject) => {
      const script = document.createElement('script');
      script.src = path;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`cannot load ${path}`));
      document.body.append(script);
    });

  // Fillers come before what anybody looks for, so that a search through the module map meets them first.
  const loadFillers = async (from, to) => {
    for (let first = from; first < to; first += 1000) {
      await load(`/page/filler/${first}?count=${Math.min(1000, to - first)}`);
    }
  };

  const start = async () => {
    const fillers = pageOptions.filler_modules;
    const half = Math.floor(fillers / 2);
    await loadFillers(0, half);
    await load('/page/foundations.js');
    if (pageOptions.never_ready) return;
    await pause(pageOptions.bundle_pause_ms);
    await loadFillers(half, fillers);
    await load('/page/application.js');
    await use('PageBoot').boot();
  };
  start().catch((error) => console.error('the page cannot start', error));
})();
