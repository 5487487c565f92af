// The stop button. It needs no stream and no state: one POST request, sent again until it is answered.

import { forget, unlock } from './access.js';
import { h } from './parts.js';
import { headers, prefix } from './store.js';
import { clock, isActive, left, onState, refresh, state } from './chaos-state.js';

const ATTEMPTS = 5;
const PATIENCE = 3000; // ms, for one request
const PAUSE = 500; // ms, before the second request; it grows

/** Requests with these responses would be answered in the same way again. */
const FINAL = [403, 404, 429];

const plural = (number, word) => `${number} ${word}${number === 1 ? '' : 's'}`;

function stopped({ faults, experiment, monkey }) {
  const parts = [
    faults ? `${plural(faults, 'fault')} ended` : '',
    experiment ? `experiment ${experiment} aborted` : '',
    monkey ? 'monkey stopped' : '',
  ].filter(Boolean);
  return `Stopped: ${parts.join(', ') || 'nothing was armed'}.`;
}

/** When the faults end without the server's help. */
function otherwise() {
  const all = (state.now?.faults ?? []).map(left);
  return all.length && !all.includes(null) ? ` The armed faults end by themselves within ${clock(Math.max(...all))}.` : '';
}

/** Sends one request. Resolves to `{ done }`, `{ why }` or `{ wrong }`. */
async function send() {
  try {
    const response = await fetch(`${prefix}/chaos/stop`, { method: 'POST', headers: headers(), signal: AbortSignal.timeout(PATIENCE) });
    const json = await response.json().catch(() => null);
    if (response.ok && json) return { done: json };
    const why = json?.detail ?? `the server returned status ${response.status}`;
    return { why, wrong: response.status === 401, final: FINAL.includes(response.status) };
  } catch (error) {
    return { why: error.name === 'TimeoutError' ? 'the server does not answer' : 'the server is unreachable' };
  }
}

const hasToken = () => Boolean(headers().authorization);

async function stop(say) {
  let why = '';
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    while (!hasToken()) {
      say('bad', `NOT stopped: ${why || 'the admin token is required'}.`);
      if (!(await unlock(why))) return say('bad', `NOT stopped: no valid admin token was entered.${otherwise()}`);
    }
    say('warn', attempt === 1 ? 'Stopping …' : `NOT stopped yet: ${why}. Attempt ${attempt} of ${ATTEMPTS} …`);
    const answer = await send();
    if (answer.done) return say('good', stopped(answer.done));
    why = answer.why;
    if (answer.wrong) {
      forget();
      continue;
    }
    if (answer.final) break;
    if (attempt < ATTEMPTS) await new Promise((resolve) => setTimeout(resolve, PAUSE * attempt));
  }
  return say('bad', `NOT stopped: ${why}.${otherwise()} Press the button to try again.`);
}

/** The button, and the place of its result. Created once, so that no redraw replaces them. */
function create() {
  const result = h('p', { id: 'stopped', role: 'alert' });
  let isBusy = false;
  const say = (level, text) => {
    result.className = `${level}-text`;
    result.textContent = level === 'warn' ? text : `${new Date().toLocaleTimeString('en-GB')} ${text}`;
  };
  const press = async () => {
    // A second press does not start a second series of requests.
    if (isBusy) return;
    isBusy = true;
    button.setAttribute('aria-busy', 'true');
    await stop(say);
    button.removeAttribute('aria-busy');
    // An older state would still show what was stopped.
    await refresh();
    isBusy = false;
  };
  // "Stopped" must not stand next to a fault that was armed later.
  onState(() => {
    if (!isBusy && result.className === 'good-text' && isActive()) result.textContent = '';
  });
  const button = h('button', { type: 'button', id: 'stop', onclick: press }, 'Stop everything');
  const about = h('p', { class: 'empty' }, 'Ends all faults at once, aborts the experiment and stops the monkey. It does not need the live connection of this page.');
  return h('div', { id: 'stop-box' }, button, h('div', {}, about, result));
}

export const stopBox = create();
