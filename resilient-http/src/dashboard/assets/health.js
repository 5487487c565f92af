// State of each component in words, and its urgency.

import { count, share, time, words } from './parts.js';
import { store } from './store.js';

/** Operations, and the kinds of component as listed by the server, in the order of a call. */
export const KINDS = ['operations', ...document.querySelector('meta[name=kinds]').content.split(' ')];

export const kindWords = (kind) => (kind === 'operations' ? 'operation' : words(kind));

/** A number of things, for example `1 instance`. */
const some = (number, thing) => `${count(number)} ${thing}${number === 1 ? '' : 's'}`;

const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : '–');

const breaker = {
  closed: ['good', '● closed'],
  half_open: ['warn', '◐ half-open'],
  open: ['bad', '○ open'],
  forced_open: ['bad', '○ forced open'],
  forced_closed: ['warn', '● forced closed'],
  disabled: ['off', '– disabled'],
};

/** The state of a shared circuit, as far as this instance knows. */
function sharing({ state, unchanged_for: since, votes, quorum, instances, applies, problem }) {
  if (!state) return problem ? 'not shared: store failed' : 'not shared yet';
  const old = problem ? ' (old: store failed)' : '';
  if (state === 'closed') return `open in ${votes} of ${some(instances, 'instance')}, ${quorum} open it in all${old}`;
  const shared = state === 'open' ? 'opened' : 'half-open';
  return `${shared} by ${votes} of ${some(instances, 'instance')} ${time(since)} ago${applies ? '' : ', not applied'}${old}`;
}

/** How a limit is shared. */
function shareOfLimit({ store: name, mode, instances, degraded, settings_differ: differ }) {
  if (degraded) return `store ${name} failed: decides without it`;
  return `${mode}, shared by ${some(instances, 'instance')}${differ ? ' with different settings' : ''}`;
}

/** A fact about failures, if there are any. */
const failed = (number, what, verb = 'failed') => (number ? `${some(number, what)} ${verb}` : '');

/** Each returns `{ level, mark, facts, weight, spark }`. Components with a greater weight come first. */
const judges = {
  operations(now, recent) {
    const calls = recent('calls');
    const bad = recent('failed') + recent('rejected') + recent('timed_out');
    const errors = calls ? bad / calls : 0;
    const degraded = recent('fell_back');
    const injected = Object.values(now.injected ?? {}).reduce((sum, number) => sum + number, 0);
    const level = errors >= 0.5 ? 'bad' : errors > 0.05 || degraded ? 'warn' : 'good';
    const mark = { bad: '✕ failing', warn: degraded ? '▲ degraded' : '▲ errors', good: calls ? '✓ healthy' : '✓ idle' }[level];
    return {
      level, mark, spark: 'calls', weight: { bad: 300 + errors, warn: 150 + errors, good: calls ? 40 : 5 }[level],
      facts: [`${count(calls)} in 10 s`, `${percent(bad, calls)} errors`, `p50 ${time(now.latency.p50)}`, `p99 ${time(now.latency.p99)}`, `${share(now.saturation)} in use`, injected ? `${count(injected)} injected faults` : ''],
    };
  },
  circuit_breaker(now) {
    const [level, mark] = breaker[now.state] ?? ['off', now.state];
    const window = now.window;
    return {
      level, mark, spark: 'failed', weight: { bad: 400, warn: 200, good: 30, off: 20 }[level],
      facts: [`${percent(window.failed, window.calls)} failed`, `${count(window.calls)} in the window`, `${count(now.rejected)} rejected`, now.reason?.rule === 'shared' ? 'opened by other instances' : '', now.shared ? sharing(now.shared) : ''],
    };
  },
  bulkhead(now) {
    const full = now.limit ? now.in_use / now.limit : 0;
    const level = full >= 1 ? 'bad' : full >= 0.8 || now.queued ? 'warn' : 'good';
    return {
      level, mark: { bad: '✕ full', warn: '▲ near limit', good: '✓ available' }[level], spark: 'in_use', weight: { bad: 250, warn: 120, good: 15 }[level] + full,
      facts: [`${now.in_use} of ${now.limit}`, `${count(now.queued)} queued`, `${count(now.rejected)} rejected`],
    };
  },
  retry(now) {
    const level = now.budget.tokens < 1 ? 'warn' : 'good';
    return {
      level, mark: level === 'good' ? '✓ budget available' : '▲ budget exhausted', weight: level === 'good' ? 10 : 140,
      facts: [`${count(now.retries)} retries`, `${count(now.recovered)} recovered`, `${count(now.exhausted)} exhausted`],
    };
  },
  rate_limit(now) {
    const { shared } = now;
    const [level, mark, weight] = shared?.degraded ? ['warn', '▲ not shared', 190] : now.queued ? ['warn', '▲ queueing', 90] : ['good', '✓ below limit', 9];
    return { level, mark, weight, facts: [`${count(now.remaining)} of ${count(now.limit)} left`, `${count(now.rejected)} rejected`, `${count(now.keys)} keys`, shared ? shareOfLimit(shared) : ''] };
  },
  load_shed(now) {
    const shed = Object.values(now.shed_by).reduce((sum, number) => sum + number, 0);
    const level = now.shedding ? 'warn' : 'good';
    return { level, mark: now.shedding ? `▲ shedding up to priority ${now.shedding}` : '✓ admitting', weight: now.shedding ? 180 : 12, facts: [`${count(now.in_flight)} in flight`, now.limit === null ? 'no limit' : `limit ${count(now.limit)}`, `${count(shed)} shed`] };
  },
  fallback(now) {
    const served = Object.values(now.levels).reduce((sum, level) => sum + level.served, 0);
    const cache = now.distributed_cache;
    return {
      level: 'good', mark: served ? '✓ used' : '✓ not used', weight: 6,
      facts: [`${count(served)} served`, `${count(now.all_failed)} failed`, ...(cache ? [`${count(cache.in_memory)} values in memory`, cache.queued_writes ? `${count(cache.queued_writes)} writes waiting` : '', failed(cache.failed_reads, 'read'), failed(cache.failed_writes, 'write'), failed(cache.dropped_writes, 'write', 'dropped')] : [])],
    };
  },
  idempotency(now, recent) {
    const failures = recent('store_failures');
    const level = failures ? 'bad' : now.outcome_unknown ? 'warn' : 'good';
    return {
      level, mark: { bad: '✕ store failed', warn: '▲ unknown outcomes', good: '✓ in use' }[level], spark: 'executed', weight: { bad: 425, warn: 100, good: 5 }[level],
      facts: [`${count(now.executed)} executed`, `${count(now.replayed)} replayed`, now.outcome_unknown ? `${count(now.outcome_unknown)} with unknown outcome` : '', failed(now.store_failures, 'claim'), now.not_kept ? `${count(now.not_kept)} results not stored` : ''],
    };
  },
  timeout(now) {
    return { level: 'good', mark: '✓ active', weight: 4, facts: [`${count(now.total_timeouts)} total timeouts`, `${count(now.attempt_timeouts)} attempt timeouts`] };
  },
  health(now) {
    const level = { pass: 'good', warn: 'warn', fail: 'bad' }[now.status] ?? 'off';
    const age = now.age === null ? 'not checked yet' : `${time(now.age)} ago`;
    return { level, mark: { good: '✓ passing', warn: '▲ warning', bad: '✕ failing', off: '? unknown' }[level], weight: { good: 8, warn: 160, bad: 420, off: 20 }[level], facts: [now.kind, age, time(now.took), now.output ?? ''] };
  },
  alert(now) {
    const level = { warning: 'warn', critical: 'bad' }[now.severity] ?? 'good';
    return { level, mark: { good: '✓ not firing', warn: '▲ warning', bad: '✕ critical' }[level], weight: { good: 3, warn: 210, bad: 500 }[level], facts: [words(now.signal), now.operation ?? 'all operations', signal(now)] };
  },
  store(now) {
    const level = now.degraded ? 'bad' : now.address === null ? 'off' : 'good';
    return {
      level, mark: { bad: `✕ degraded for ${time(now.degraded_for)}`, off: '– not registered', good: '✓ available' }[level], spark: 'requests', weight: { bad: 430, off: 7, good: 7 }[level],
      facts: [now.address ?? '', some(now.requests, 'request'), some(now.failures, 'failure'), now.timeouts ? some(now.timeouts, 'timeout') : '', now.rejected ? `${count(now.rejected)} not sent` : '', now.instances === null ? '' : some(now.instances, 'instance'), now.last_error && `${now.degraded ? '' : 'last error: '}${now.last_error}`],
    };
  },
  config_source(now) {
    const level = now.problem ? 'bad' : 'good';
    return { level, mark: now.problem ? '✕ rejected' : '✓ applied', weight: now.problem ? 410 : 2, facts: [now.problem ?? '', `${count(now.applied)} applied`, `${count(now.refused)} rejected`] };
  },
};

function plain(now) {
  const facts = Object.entries(now).filter(([, value]) => typeof value === 'number').slice(0, 4);
  return { level: 'good', mark: '✓ in use', weight: 1, facts: facts.map(([name, value]) => `${count(value)} ${words(name)}`) };
}

/** The current value of the signal of an alert, with its unit. */
export function signal({ signal: name, value }) {
  if (value === null) return '–';
  if (name.startsWith('latency')) return time(value);
  return ['error_rate', 'degraded_rate', 'saturation'].includes(name) ? share(value) : value.toPrecision(3);
}

/** The sum of a metric over the last 10 seconds. */
function recent(kind, name) {
  return (figure) => (store.past.get(`${kind}/${name}/${figure}`) ?? []).slice(-10).reduce((sum, value) => sum + (value ?? 0), 0);
}

/** State of all operations together. */
export const judgedTotal = (now) => judges.operations(now, recent('total', 'all'));

export function judged(kind, name, now) {
  return (judges[kind] ?? plain)(now, recent(kind, name));
}
