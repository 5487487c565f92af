// Armed faults, the experiment and the monkey: requested once a second, without the streams of the page, which can be broken.

import { headers, prefix } from './store.js';
import { follow } from './chaos-journal.js';

const PAUSE = 1000; // ms
const PATIENCE = 4000; // ms

export const state = {
  /** The response of `GET /chaos`, or null before the first one. */
  now: null,
  /** When it was received. */
  at: 0,
  /** Why it is not up to date; empty if it is. */
  stale: '',
  /** The response of `GET /chaos/experiments`. */
  experiments: null,
};

const listeners = new Set();
export const onState = (listener) => listeners.add(listener);

/** Sends a request that is given up after some seconds. Throws an `Error` with the message of the server. */
export async function get(path) {
  const response = await fetch(prefix + path, { headers: headers(), signal: AbortSignal.timeout(PATIENCE) }).catch((error) => {
    throw new Error(error.name === 'TimeoutError' ? 'the server does not answer' : 'the server is unreachable');
  });
  const json = await response.json().catch(() => null);
  if (response.ok) return json;
  throw new Error(json?.detail ?? `the server returned status ${response.status}`);
}

/** Time that has passed since the last response, in seconds. */
export const age = () => (performance.now() - state.at) / 1000;

/** The step of the experiment that injected a fault, if it is from the experiment that runs. */
const stepOf = ({ by }) => {
  const { experiment } = state.now;
  const start = `experiment ${experiment?.scenario} step `;
  return experiment && by.startsWith(start) ? by.slice(start.length) : null;
};

/** Whether a fault is a short lease that its experiment or monkey renews. */
export const isRenewed = ({ by }) => /^(experiment|monkey) /.test(by);

/**
 * Time until a fault ends, in seconds: the planned end of its step, or its time to live. It runs down without the server.
 * Null if it is not known, for a fault of a monkey.
 */
export function left(fault) {
  const ends = isRenewed(fault) ? state.now.experiment?.step_ends_in?.[stepOf(fault)] : fault.expires_in;
  return ends === undefined ? null : Math.max(0, ends - age());
}

/** A time as a countdown: `0:41`, `12:05`. */
export function clock(seconds) {
  const rest = Math.ceil(seconds);
  const [hours, minutes, second] = [Math.floor(rest / 3600), Math.floor(rest / 60) % 60, rest % 60];
  const two = (number) => String(number).padStart(2, '0');
  return hours ? `${hours}:${two(minutes)}:${two(second)}` : `${minutes}:${two(second)}`;
}

/** Whether a fault is armed or can become armed. */
export const isActive = () => Boolean(state.now && (state.now.armed || state.now.experiment || state.now.monkey));

const running = () => state.now?.experiment?.id ?? null;

/** Asks once. */
export async function refresh() {
  const before = running();
  try {
    state.now = await get('/chaos');
    state.at = performance.now();
    if (running() !== before || !state.experiments || running() !== null) state.experiments = await get('/chaos/experiments');
    state.stale = '';
  } catch (error) {
    state.stale = error.message;
  }
  if (running() !== null) follow(running());
  listeners.forEach((listener) => listener());
}

export async function start() {
  for (;;) {
    await refresh();
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}
