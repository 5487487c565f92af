// How each component stands, in words and by how much it needs to be looked at.

import { count, time } from './parts.js';

const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : '–');

const breaker = {
  closed: ['good', '● closed'],
  half_open: ['warn', '◐ half-open'],
  open: ['bad', '○ open'],
  forced_open: ['bad', '○ forced open'],
  forced_closed: ['warn', '● forced closed'],
  disabled: ['off', '– disabled'],
};

/** `{ level, mark, facts, weight, spark }`; the heavier, the sooner it is to be seen. */
export const judges = {
  operations(now, recent) {
    const calls = recent('calls');
    const bad = recent('failed') + recent('rejected') + recent('timed_out');
    const share = calls ? bad / calls : 0;
    const degraded = recent('fell_back');
    const level = share >= 0.5 ? 'bad' : share > 0.05 || degraded ? 'warn' : 'good';
    const mark = { bad: '✕ failing', warn: degraded ? '▲ degraded' : '▲ errors', good: calls ? '✓ well' : '✓ idle' }[level];
    return {
      level, mark, spark: 'calls', weight: { bad: 300 + share, warn: 150 + share, good: calls ? 40 : 5 }[level],
      facts: [`${count(calls)} in 10 s`, `${percent(bad, calls)} errors`, `p50 ${time(now.latency.p50)}`, `p99 ${time(now.latency.p99)}`],
    };
  },
  circuit_breaker(now) {
    const [level, mark] = breaker[now.state] ?? ['off', now.state];
    const window = now.window;
    return {
      level, mark, spark: 'failed', weight: { bad: 400, warn: 200, good: 30, off: 20 }[level],
      facts: [`${percent(window.failed, window.calls)} failed`, `${count(window.calls)} in the window`, `${count(now.rejected)} refused`],
    };
  },
  bulkhead(now) {
    const full = now.limit ? now.in_use / now.limit : 0;
    const level = full >= 1 ? 'bad' : full >= 0.8 || now.queued ? 'warn' : 'good';
    return {
      level, mark: { bad: '✕ full', warn: '▲ filling', good: '✓ room' }[level], spark: 'in_use', weight: { bad: 250, warn: 120, good: 15 }[level] + full,
      facts: [`${now.in_use} of ${now.limit}`, `${count(now.queued)} queued`, `${count(now.rejected)} refused`],
    };
  },
  retry(now) {
    const level = now.budget.tokens < 1 ? 'warn' : 'good';
    return {
      level, mark: level === 'good' ? '✓ budget left' : '▲ no budget', weight: level === 'good' ? 10 : 140,
      facts: [`${count(now.retries)} retries`, `${count(now.recovered)} recovered`, `${count(now.exhausted)} exhausted`],
    };
  },
  rate_limit(now) {
    const level = now.queued ? 'warn' : 'good';
    return { level, mark: level === 'good' ? '✓ flowing' : '▲ queueing', weight: level === 'good' ? 9 : 90, facts: [`${count(now.remaining)} of ${count(now.limit)} left`, `${count(now.rejected)} refused`, `${count(now.keys)} keys`] };
  },
  load_shed(now) {
    const shed = Object.values(now.shed ?? {}).reduce((sum, number) => sum + (Number(number) || 0), 0);
    return { level: 'good', mark: '✓ admitting', weight: 12, facts: [`${count(now.in_flight)} in flight`, `limit ${count(now.limit)}`, `${count(shed)} shed`] };
  },
  fallback(now) {
    const served = Object.values(now.levels).reduce((sum, level) => sum + level.served, 0);
    return { level: 'good', mark: served ? '✓ has served' : '✓ not needed', weight: 6, facts: [`${count(served)} served`, `${count(now.all_failed)} failed`] };
  },
  timeout(now) {
    return { level: 'good', mark: '✓', weight: 4, facts: [`${count(now.total_timeouts)} in total`, `${count(now.attempt_timeouts)} attempts`] };
  },
  health(now) {
    const level = { pass: 'good', warn: 'warn', fail: 'bad' }[now.status];
    return { level, mark: { good: '✓ passes', warn: '▲ degraded', bad: '✕ fails' }[level], weight: { good: 8, warn: 160, bad: 420 }[level], facts: [now.kind, time(now.took), now.output ?? ''] };
  },
  alert(now) {
    const level = { warning: 'warn', critical: 'bad' }[now.severity] ?? 'good';
    return { level, mark: { good: '✓ quiet', warn: '▲ warning', bad: '✕ critical' }[level], weight: { good: 3, warn: 210, bad: 500 }[level], facts: [now.signal, now.operation ?? 'all', now.value === null ? '–' : now.value.toPrecision(3)] };
  },
};

export function plain(now) {
  const facts = Object.entries(now).filter(([, value]) => typeof value === 'number').slice(0, 4);
  return { level: 'good', mark: '✓', weight: 1, facts: facts.map(([name, value]) => `${count(value)} ${name.replaceAll('_', ' ')}`) };
}
