// What the server tells: everything once, then what changed, once a second. Kept here with a short past for the charts.

const PAST = 300; // seconds

export const prefix = document.querySelector('meta[name=prefix]').content;

export const store = {
  stats: null,
  /** `kind/name/figure` -> values, the latest last. */
  past: new Map(),
  times: [],
  events: [],
  connected: false,
  token: '',
};

const listeners = new Set();
export const onChange = (listener) => listeners.add(listener);
export const changed = () => listeners.forEach((listener) => listener());

export function headers() {
  return store.token ? { authorization: `Bearer ${store.token}` } : {};
}

/** Asks the API; throws an `Error` with the server's own words, and its `status`. */
export async function ask(method, path, body) {
  const sent = { method, headers: { ...headers() } };
  if (body !== undefined) {
    sent.headers['content-type'] = 'application/json';
    sent.body = JSON.stringify(body);
  }
  const response = await fetch(prefix + path, sent);
  const json = await response.json().catch(() => null);
  if (response.ok) return json;
  const error = new Error(json?.detail ?? `the server answered ${response.status}`);
  error.status = response.status;
  throw error;
}

/** RFC 7396. */
function merge(target, patch) {
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch;
  const into = target !== null && typeof target === 'object' && !Array.isArray(target) ? target : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete into[key];
    else into[key] = merge(into[key], value);
  }
  return into;
}

/** Lines of `text/event-stream` as `{ event, data }`. */
async function* messages(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
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

/** Follows a stream for ever; comes back by itself. */
async function follow(path, take, state) {
  for (let pause = 500; ; pause = Math.min(pause * 2, 10_000)) {
    try {
      const stop = new AbortController();
      restarts.add(() => stop.abort());
      const response = await fetch(prefix + path, { headers: headers(), signal: stop.signal });
      if (response.ok) {
        state(true, '');
        pause = 250;
        for await (const message of messages(response)) take(message);
        state(false, 'the connection was lost; trying again');
      } else {
        state(false, response.status === 401 ? 'locked: this needs the admin token' : `the server answered ${response.status}`);
      }
    } catch (error) {
      state(false, error.name === 'AbortError' ? 'connecting' : 'the server cannot be reached; trying again');
    }
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, pause);
    });
  }
}

const restarts = new Set();
let wake = () => {};

/** Connects anew, with another token. */
export function reconnect() {
  restarts.forEach((restart) => restart());
  restarts.clear();
  wake();
}

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
  for (const [name, now] of Object.entries(stats.operations)) {
    const then = before?.operations[name];
    for (const counter of counters) note(`operations/${name}/${counter}`, then ? Math.max(0, now[counter] - then[counter]) : null);
    for (const share of ['p50', 'p95', 'p99']) note(`operations/${name}/${share}`, now.latency.measured ? now.latency[share] * 1000 : null);
  }
  for (const [name, now] of Object.entries(stats.circuit_breaker)) {
    note(`circuit_breaker/${name}/failed`, now.window.calls ? (100 * now.window.failed) / now.window.calls : null);
    note(`circuit_breaker/${name}/slow`, now.window.calls ? (100 * now.window.slow) / now.window.calls : null);
  }
  for (const [name, now] of Object.entries(stats.bulkhead)) {
    note(`bulkhead/${name}/in_use`, now.in_use);
    note(`bulkhead/${name}/queued`, now.queued);
    note(`bulkhead/${name}/limit`, now.limit);
  }
  if (store.times.length > PAST) store.times.shift();
  for (const [key, values] of store.past) {
    while (values.length > store.times.length) values.shift();
    if (values.length < store.times.length) store.past.delete(key);
  }
  before = structuredClone(stats);
}

export function start(state) {
  follow('/stream', ({ event, data }) => {
    store.stats = event === 'whole' ? data : merge(store.stats, data);
    remember(store.stats);
    changed();
  }, (connected, text) => {
    store.connected = connected;
    state(connected, text);
  });
  follow('/events', ({ event, data }) => {
    if (event === 'lost') store.events.unshift({ at: new Date(), lost: data });
    else store.events.unshift({ at: new Date(), ...data });
    store.events.length = Math.min(store.events.length, 500);
  }, () => {});
}
