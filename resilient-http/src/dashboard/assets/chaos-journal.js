// The journal of the experiment that runs: followed while the dashboard is open, on whatever page. An attended
// experiment is aborted when no client follows it any more.

import { words } from './parts.js';
import { headers, messages, prefix } from './store.js';

const PAUSE = 500; // ms; shorter than the time that an attended experiment waits for a client
const SILENCE = 40_000; // ms; the server sends a sign of life every 15 s

export const journal = {
  id: null,
  /** Entries without the readings of probes. */
  entries: [],
};

/** Follows the journal of an experiment until it ends. Does nothing if it is followed already. */
export async function follow(id) {
  if (journal.id === id) return;
  journal.id = id;
  journal.entries = [];
  for (let isOver = false; !isOver && journal.id === id;) {
    isOver = await once(id).catch(() => false);
    if (!isOver) await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

/** Reads the journal from its start. Resolves to whether the experiment has ended or is not known any more. */
async function once(id) {
  const own = new AbortController();
  let alarm;
  const heard = () => {
    clearTimeout(alarm);
    alarm = setTimeout(() => own.abort(), SILENCE);
  };
  heard();
  try {
    const response = await fetch(`${prefix}/chaos/experiments/${id}/journal`, { headers: { ...headers(), accept: 'text/event-stream' }, signal: own.signal });
    if (!response.ok) {
      await response.body?.cancel();
      return response.status === 404;
    }
    const entries = [];
    for await (const { event, data } of messages(response, heard)) {
      if (event === 'end') return true;
      if (data.entry !== 'probe') entries.push(data);
      if (journal.id === id) journal.entries = entries;
    }
    return false;
  } finally {
    clearTimeout(alarm);
  }
}

const PHASES = {
  before: 'observing the steady state before the first fault',
  steps: 'injecting faults',
  recovery: 'waiting for the steady state to return',
};

export const phase = (name) => PHASES[name] ?? 'starting';

const calls = (count) => (count === undefined || count === null ? '' : `, hit ${count} attempts`);

/** Describes an entry in a line, and how bad it is. */
export function line(entry) {
  switch (entry.entry) {
    case 'began': return ['', 'the experiment began'];
    case 'refused': return ['bad', `refused: ${entry.reasons.join('; ')}`];
    case 'phase': return ['', phase(entry.phase)];
    case 'step': return ['warn', entry.runs ? `fault ${entry.step} is injected` : `fault ${entry.step} ended${calls(entry.injected)}`];
    case 'circuit': return ['', `circuit breaker ${entry.breaker}: ${words(entry.state)}`];
    case 'alert': return [{ critical: 'bad', warning: 'warn' }[entry.severity] ?? '', `alert ${entry.alert}: ${entry.severity ?? 'ended'}`];
    case 'health': return ['', `health check ${entry.check}: ${entry.status}`];
    case 'warning': return ['warn', entry.text];
    case 'note': return ['', `${entry.by}: ${entry.text}`];
    case 'deviated': return ['bad', `deviated: ${entry.what}`];
    case 'aborted': return ['bad', `aborted: ${entry.reason}`];
    case 'rolled_back': return ['', `all faults were removed: ${entry.steps.join(', ')}`];
    case 'recovered': return ['good', `recovered after ${entry.took.toFixed(1)} s`];
    case 'check': return [entry.passed === false ? 'bad' : '', `${{ true: 'passed', false: 'FAILED' }[entry.passed] ?? 'not decided'}: ${entry.name}, ${entry.detail}`];
    case 'ended': return ['', `ended: ${entry.outcome}`];
    default: return ['', words(entry.entry)];
  }
}
