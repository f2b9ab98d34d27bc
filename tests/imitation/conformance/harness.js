// The in-page half of the conformance list: it keeps the assertions, records wa-js' events, runs one assertion at a time
// and asks the driver when somebody at the far end has to act.
//
// The driver, in any language, evaluates this file and then the lists in the page, and does four things:
//   conformance.configure({...})      once per page load, see `settings`
//   conformance.listen()              when `WPP` exists
//   await conformance.run(name)       gives { ok, detail, milliseconds }
//   conformance.answer(id, {...})     when it has done what the binding `conformanceFarEnd` asked for
'use strict';

globalThis.conformance = (() => {
  const assertions = [];
  const heard = [];
  const calls = new Map();
  let lastCall = 0;
  // `people` are phone numbers: `me` (the account under test), `contact` (exchanges messages with it), `stranger` (exists,
  // never heard of), `missing` (not on WhatsApp).
  let settings = { people: {}, patience: 20_000 };

  // One line per event, so that a trace reads like the documentation of one.
  const digest = (name, given) => {
    const [first, second] = given;
    if (name === 'conn.backend_event') return [name, first, ...(typeof second === 'string' ? [second] : [])].join(' ');
    if (name === 'conn.stream_mode_changed' || name === 'conn.stream_info_changed') return `${name} ${first}`;
    if (name === 'conn.auth_code_change') return `${name} ${first ? 'code' : 'null'}`;
    return name;
  };

  class Failure extends Error {}
  const ensure = (condition, complaint) => {
    if (!condition) throw new Failure(complaint);
  };
  const show = (value) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return text === undefined ? String(value) : text.slice(0, 300);
  };
  const equal = (actual, expected, what = 'value') =>
    ensure(show(actual) === show(expected), `${what}: expected ${show(expected)}, got ${show(actual)}`);

  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const until = async (what, find, within = settings.patience) => {
    for (const end = performance.now() + within; performance.now() < end; await pause(20)) {
      const found = await find();
      if (found) return found;
    }
    throw new Failure(`${what} did not happen within ${within} ms`);
  };

  // What came out of a promise: `{ value }` or `{ error }`.
  const outcome = (promise) => promise.then((value) => ({ value })).catch((error) => ({ error }));
  const refusal = async (promise, what) => {
    const { error, value } = await outcome(promise);
    ensure(error !== undefined, `${what} was expected to fail and gave ${show(value)}`);
    return error;
  };

  // The events since a moment; assertions start at their own beginning.
  const eventsSince = (start) => ({
    all: () => heard.slice(start),
    has: (line) => heard.slice(start).some((event) => event.line === line || event.name === line),
    next: (line, matches = () => true, within) =>
      until(
        `the event ${line}`,
        () =>
          heard.slice(start).find((event) => (event.line === line || event.name === line) && matches(...event.given)),
        within,
      ),
    // The lines occur in this order; others may stand between them.
    ensureOrder(lines) {
      let from = start;
      for (const line of lines) {
        const at = heard.findIndex((event, index) => index >= from && (event.line === line || event.name === line));
        const seen = heard
          .slice(start)
          .map((event) => event.line)
          .join(', ');
        ensure(at >= 0, `${line} is missing or too early in: ${seen}`);
        from = at + 1;
      }
    },
  });

  // Whatever a person with a phone would do. Each verb is a verb of the imitation's control API.
  const farEnd = new Proxy(
    {},
    {
      get:
        (_, verb) =>
        (fields = {}) =>
          new Promise((resolve, reject) => {
            const id = ++lastCall;
            calls.set(id, { resolve, reject });
            globalThis.conformanceFarEnd(JSON.stringify({ id, verb, fields }));
          }),
    },
  );

  const run = async (name) => {
    const assertion = assertions.find((known) => known.name === name);
    const started = performance.now();
    const context = {
      farEnd,
      events: eventsSince(assertion.stage === 'ready' || assertion.stage === 'returning' ? 0 : heard.length),
      people: settings.people,
      page: (id) => globalThis.importNamespace(id),
      ensure,
      equal,
      until,
      outcome,
      refusal,
      pause,
      remember: (key, value) => sessionStorage.setItem(`conformance ${key}`, JSON.stringify(value)),
      recall: (key) => JSON.parse(sessionStorage.getItem(`conformance ${key}`)),
    };
    const limit = (assertion.patience ?? 2) * settings.patience;
    const tooLong = pause(limit).then(() => {
      throw new Failure(`no result within ${limit} ms`);
    });
    const { error } = await outcome(Promise.race([assertion.run(context), tooLong]));
    const detail =
      error === undefined
        ? ''
        : error instanceof Failure
          ? error.message
          : `${error?.name}: ${error?.code ?? ''} ${error?.message} ${error?.stack ?? ''}`;
    return { ok: error === undefined, detail, milliseconds: Math.round(performance.now() - started) };
  };

  return {
    // One assertion. `stage` says in which state the page must be (see README), `needs` what it takes besides a page:
    // 'far end' somebody with a phone, 'control' the imitation's faults and records, 'second account' another linked page.
    assert: ({ name, stage, needs = [], patience }, run) => assertions.push({ name, stage, needs, patience, run }),
    list: () => assertions.map(({ name, stage, needs }) => ({ name, stage, needs })),
    configure: (given) => (settings = { ...settings, ...given }),
    listen: () => WPP.onAny((name, ...given) => heard.push({ name, given, line: digest(name, given) })),
    answer: (id, { value, error }) => {
      const { resolve, reject } = calls.get(id);
      calls.delete(id);
      error === undefined ? resolve(value) : reject(new Failure(`the far end: ${error}`));
    },
    trace: () => heard.map((event) => event.line),
    run,
  };
})();
