// State received from the server: a snapshot, then changes once a second. Includes a short history for the charts.

const PAST = 300; // seconds

export const prefix = document.querySelector('meta[name=prefix]').content;

export const store = {
  stats: null,
  /** `kind/name/figure` -> values, latest last. */
  past: new Map(),
  times: [],
  /** Latest first. */
  events: [],
  /** Why no events are received; empty while they are. */
  listening: '',
  /** Incremented with each connection, to reload data that is loaded only once. */
  session: 0,
  token: '',
};

const listeners = new Set();
export const onChange = (listener) => listeners.add(listener);
export const changed = () => listeners.forEach((listener) => listener());

export function headers() {
  return store.token ? { authorization: `Bearer ${store.token}` } : {};
}

/** Calls the API. Throws an `Error` with the message of the server and its `status`. */
export async function ask(method, path, body) {
  const sent = { method, headers: { ...headers() } };
  if (body !== undefined) {
    sent.headers['content-type'] = 'application/json';
    sent.body = JSON.stringify(body);
  }
  const response = await fetch(prefix + path, sent).catch(() => {
    throw new Error('the server is unreachable');
  });
  const json = await response.json().catch(() => null);
  if (response.ok) return json;
  const error = new Error(json?.detail ?? `the server returned status ${response.status}`);
  error.status = response.status;
  throw error;
}

/** Applies a JSON merge patch (RFC 7396). */
function merge(target, patch) {
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch;
  const into = target !== null && typeof target === 'object' && !Array.isArray(target) ? target : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete into[key];
    else into[key] = merge(into[key], value);
  }
  return into;
}

/** Parses `text/event-stream` into `{ event, data }`. Calls `heard` whenever data is received, also for comments. */
export async function* messages(response, heard) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    text += value;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      const data = field('data').join('\n');
      if (data) yield { event: field('event')[0] ?? 'message', data: JSON.parse(data) };
    }
  }
}

const FIRST_PAUSE = 500; // ms
const LONGEST_PAUSE = 5000; // ms
const SILENT = 'silent';
const ANEW = 'anew';

/**
 * Follows a stream forever, and reconnects automatically. Returns a function that makes this stream reconnect immediately.
 */
function follow(path, silence, take, state) {
  let stop = new AbortController();
  let wake = () => {};
  const run = async () => {
    for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      const own = new AbortController();
      const { signal } = own;
      stop = own;
      // The connection to a server that hangs or disappeared can stay open for hours.
      let alarm;
      const heard = () => {
        clearTimeout(alarm);
        alarm = setTimeout(() => own.abort(SILENT), silence);
      };
      try {
        heard();
        const response = await fetch(prefix + path, { headers: headers(), signal });
        if (response.ok) {
          state(true, '');
          pause = FIRST_PAUSE / 2;
          for await (const message of messages(response, heard)) take(message);
          state(false, 'connection lost; reconnecting');
        } else {
          await response.body?.cancel();
          state(false, response.status === 401 ? 'locked: the admin token is required' : `the server returned status ${response.status}`);
        }
      } catch {
        const why = { [SILENT]: 'no data from the server; reconnecting', [ANEW]: 'connecting' };
        state(false, why[signal.reason] ?? 'server unreachable; reconnecting');
      }
      clearTimeout(alarm);
      if (signal.reason === ANEW) {
        pause = FIRST_PAUSE / 2;
        continue;
      }
      await new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, pause);
      });
    }
  };
  run();
  return () => {
    stop.abort(ANEW);
    wake();
  };
}

let streams = [];

/** Reconnects, for example with another token. */
export const reconnect = () => streams.forEach((again) => again());

const counters = ['calls', 'failed', 'rejected', 'timed_out', 'fell_back', 'succeeded'];
let before = null;

function remember(stats) {
  store.times.push(Date.now() / 1000);
  const note = (key, value) => {
    let values = store.past.get(key);
    if (!values) {
      values = new Array(store.times.length - 1).fill(null);
      store.past.set(key, values);
    }
    values.push(value);
  };
  const operation = (path, now, then) => {
    for (const counter of counters) note(`${path}/${counter}`, then ? Math.max(0, now[counter] - then[counter]) : null);
    for (const share of ['p50', 'p95', 'p99']) note(`${path}/${share}`, now.latency.measured ? now.latency[share] * 1000 : null);
  };
  operation('total/all', stats.total, before?.total);
  for (const [name, now] of Object.entries(stats.operations)) operation(`operations/${name}`, now, before?.operations[name]);
  for (const [name, now] of Object.entries(stats.circuit_breaker)) {
    note(`circuit_breaker/${name}/failed`, now.window.calls ? (100 * now.window.failed) / now.window.calls : null);
    note(`circuit_breaker/${name}/slow`, now.window.calls ? (100 * now.window.slow) / now.window.calls : null);
  }
  for (const [name, now] of Object.entries(stats.bulkhead)) {
    note(`bulkhead/${name}/in_use`, now.in_use);
    note(`bulkhead/${name}/queued`, now.queued);
    note(`bulkhead/${name}/limit`, now.limit);
  }
  const growth = (kind, ...names) => {
    for (const [name, now] of Object.entries(stats[kind])) {
      const then = before?.[kind][name];
      for (const counter of names) note(`${kind}/${name}/${counter}`, then ? Math.max(0, now[counter] - then[counter]) : null);
    }
  };
  growth('store', 'requests');
  growth('idempotency', 'executed', 'store_failures');
  if (store.times.length > PAST) store.times.shift();
  for (const [key, values] of store.past) {
    while (values.length > store.times.length) values.shift();
    if (values.length < store.times.length) store.past.delete(key);
  }
  before = structuredClone(stats);
}

/** Maximum number of stored events of each name, so that frequent events do not displace rare ones. */
const EVENTS = 200;
const eventCounts = new Map();
let lastKey = 0;

export const eventName = ({ what, gap }) => gap ?? what.event;

function note(event) {
  lastKey += 1;
  store.events.unshift({ key: lastKey, at: new Date(), ...event });
  const name = eventName(event);
  const same = (eventCounts.get(name) ?? 0) + 1;
  if (same > EVENTS) store.events.splice(store.events.findLastIndex((other) => eventName(other) === name), 1);
  else eventCounts.set(name, same);
}

export function start(state) {
  const stats = follow('/stream', 5000, ({ event, data }) => {
    store.stats = event === 'whole' ? data : merge(store.stats, data);
    remember(store.stats);
    changed();
  }, (connected, text) => {
    if (connected) store.session += 1;
    state(connected, text);
  });
  let listened = false;
  const events = follow('/events', 40_000, ({ event, data }) => {
    if (event === 'lost') note({ gap: 'lost', count: data });
    else note(data);
  }, (connected, text) => {
    // Events that occurred while disconnected are lost.
    if (connected && listened) note({ gap: 'not connected' });
    listened ||= connected;
    store.listening = text;
  });
  streams = [stats, events];
  // Reconnects as soon as the browser is online again.
  addEventListener('online', reconnect);
}
