// Page of one component: state, controls, charts, statistics and settings.

import { change, tell } from './access.js';
import { chart } from './chart.js';
import { lastEvents, latest, outage, transitions } from './events.js';
import { judged, kindWords } from './health.js';
import { breaking, h, inPieces, table, time, words } from './parts.js';
import { funnel } from './pages.js';
import { settings } from './settings.js';
import { store } from './store.js';

const CHARTS = {
  operations: [
    ['Calls', 'per second', [['calls', 'calls', 'good'], ['failed', 'failed', 'bad'], ['rejected', 'rejected', 'warn'], ['fell_back', 'degraded', 'off']]],
    ['Latency', 'ms', [['p50', 'p50', 'good'], ['p95', 'p95', 'warn'], ['p99', 'p99', 'bad']]],
  ],
  circuit_breaker: [['Window', '%', [['failed', 'failed', 'bad'], ['slow', 'slow', 'warn']]]],
  bulkhead: [['Permits', 'calls', [['in_use', 'in use', 'good'], ['limit', 'limit', 'off'], ['queued', 'queued', 'warn']]]],
};

/** Sections that only one kind of component has. */
const OWN = {
  circuit_breaker: ['Last transitions', (name, now) => transitions(name, now)],
  fallback: ['Levels', (_, now) => funnel(now)],
};

export function detail(page, kind, name) {
  const mark = h('p', { id: 'state' });
  const charts = (CHARTS[kind] ?? []).map((one) => chart(...one));
  const [ownTitle, own] = OWN[kind] ?? [];
  const ownPlace = h('div', { id: 'own' });
  const figures = h('div', { id: 'figures' });
  const config = settings(kind, name);
  const log = h('div', { id: 'log' });
  page.replaceChildren(
    h('p', {}, h('a', { href: '#/' }, '← Components')),
    h('h1', {}, `${kindWords(kind)} `, breaking(name)), mark, controls(kind, name),
    ...charts.map(({ box }) => box),
    ...own ? [h('h2', {}, ownTitle), ownPlace] : [],
    h('h2', {}, 'Statistics'), figures,
    config.place,
    h('h2', {}, 'Recent events'), log);
  let known = null;
  return () => {
    const now = store.stats?.[kind]?.[name];
    if (!now) {
      mark.textContent = store.stats ? 'Unknown component.' : 'Waiting for the server.';
      return;
    }
    const { level, mark: text } = judged(kind, name, now);
    mark.className = `${level}-text`;
    mark.textContent = now.outage ? `${text}: ${outage(now.outage)}` : text;
    charts.forEach((one) => one.update(store.times, (figure) => store.past.get(`${kind}/${name}/${figure}`)));
    if (own) ownPlace.replaceChildren(...[own(name, now)].flat());
    figures.replaceChildren(table(['metric', 'value'], flat(now)));
    log.replaceChildren(lastEvents(kind, name));
    // Reloads the settings after a reconnect, which can lead to another server, and after changes by other clients.
    const settingsOf = `${store.session} ${latest(kind, name, 'reconfigured')}`;
    if (kind !== 'operations' && known !== settingsOf) config.load();
    known = settingsOf;
  };
}

/** Metrics that are times in seconds. */
const TIMES = ['p50', 'p95', 'p99', 'p999', 'unchanged_for', 'retry_after', 'took', 'delay', 'age', 'lasted', 'latency', 'total', 'attempt', 'connect', 'read'];

function flat(value, path = [], key = '') {
  if (value !== null && typeof value === 'object') return Object.entries(value).flatMap(([inner, of]) => flat(of, [...path, words(inner)], inner));
  const isCount = path[0] === 'shed by' || path.join(' ') === 'last error attempt';
  return [[path.join(' '), shown(value, isCount ? '' : key)]];
}

function shown(value, key) {
  if (value === null) return '–';
  if (key === 'correlation_id') return inPieces(value);
  if (typeof value !== 'number') return ['rule', 'state', 'signal'].includes(key) ? words(value) : String(value);
  return TIMES.includes(key) ? time(value) : value.toLocaleString('en', { maximumFractionDigits: 6 });
}

const BREAKER = [
  ['Force open', 'open', 'Reject every call'],
  ['Force closed', 'close', 'Admit every call'],
  ['Disable', 'disable', 'Admit every call and record no outcomes'],
  ['Resume', 'resume', 'Return to automatic operation'],
];

function controls(kind, name) {
  if (kind === 'operations') return '';
  const control = (label, does, path) => h('button', { type: 'button', title: does, onclick: () => change('POST', path).catch((error) => tell(error.message)) }, label);
  const own = kind === 'circuit_breaker' ? BREAKER.map(([label, to, does]) => control(label, does, `/circuit_breaker/${encodeURIComponent(name)}/${to}`)) : [];
  const reset = `/reset/${encodeURIComponent(kind)}/${encodeURIComponent(name)}`;
  const shared = kind === 'circuit_breaker' && store.stats?.[kind]?.[name]?.shared;
  const all = shared ? control('Reset all', 'Reset to the initial state in all instances', `${reset}?scope=cluster`) : '';
  return h('div', { class: 'tools' }, own, control('Reset', shared ? 'Reset to the initial state in this instance' : 'Reset to the initial state', reset), all);
}
