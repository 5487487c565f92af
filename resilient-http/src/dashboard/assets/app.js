// The pages. Each is drawn once and then updated with every second.

import { ask, changed, onChange, reconnect, start, store } from './store.js';
import { chart, count, h, link, sparkline, table, time } from './parts.js';
import { judges, plain } from './health.js';

const page = document.getElementById('page');
const notice = document.getElementById('notice');

function tell(text) {
  notice.textContent = text;
  if (text) setTimeout(() => notice.textContent === text && (notice.textContent = ''), 6000);
}

const KINDS = ['operations', 'circuit_breaker', 'bulkhead', 'retry', 'rate_limit', 'load_shed', 'timeout', 'fallback', 'hedge', 'coalesce', 'idempotency', 'retry_budget', 'health', 'alert'];
const words = (kind) => kind.replaceAll('_', ' ').replace(/s$/, '');

function recent(kind, name) {
  return (figure) => (store.past.get(`${kind}/${name}/${figure}`) ?? []).slice(-10).reduce((sum, value) => sum + (value ?? 0), 0);
}

function judged(kind, name, now) {
  return (judges[kind] ?? plain)(now, recent(kind, name));
}

function all() {
  const stats = store.stats ?? {};
  return KINDS.flatMap((kind) => Object.entries(stats[kind] ?? {}).map(([name, now]) => ({ kind, name, now, ...judged(kind, name, now) })));
}

// Components ------------------------------------------------------------------------------------------

function components() {
  const search = h('input', { type: 'search', placeholder: 'Search', 'aria-label': 'Search components' });
  const kinds = h('select', { 'aria-label': 'Kind' }, h('option', { value: '' }, 'All kinds'), KINDS.map((kind) => h('option', { value: kind }, words(kind))));
  const grid = h('div', { class: 'grid', id: 'grid' });
  const draw = () => {
    const wanted = search.value.toLowerCase();
    const shown = all().filter(({ kind, name }) => (!kinds.value || kinds.value === kind) && name.toLowerCase().includes(wanted));
    shown.sort((a, b) => b.weight - a.weight || a.name.localeCompare(b.name));
    grid.replaceChildren(...shown.slice(0, 500).map(card));
    if (shown.length > 500) grid.append(h('p', { class: 'empty' }, `${count(shown.length - 500)} more: search for them`));
    if (!shown.length) grid.append(h('p', { class: 'empty' }, !store.stats ? 'Waiting for the server.' : all().length ? 'Nothing matches.' : 'Nothing here yet: components show with their first call.'));
  };
  search.addEventListener('input', draw);
  kinds.addEventListener('change', draw);
  page.replaceChildren(h('h1', {}, 'Components'), h('div', { class: 'tools' }, search, kinds), grid);
  return draw;
}

function card({ kind, name, level, mark, facts, spark }) {
  const values = spark && store.past.get(`${kind}/${name}/${spark}`);
  return h('a', { class: `card ${level}`, href: link(kind, name), 'data-kind': kind, 'data-name': name },
    h('div', { class: 'kind' }, words(kind)),
    h('div', { class: 'name' }, name),
    h('div', { class: 'mark' }, mark),
    h('div', { class: 'facts' }, facts.map((fact) => h('span', {}, fact))),
    values ? sparkline(values, `${words(kind)} ${name}, the last minute`) : null);
}

// One component ---------------------------------------------------------------------------------------

const CHARTS = {
  operations: [
    ['Calls', 'each second', [['calls', 'calls', 'good'], ['failed', 'failed', 'bad'], ['rejected', 'refused', 'warn'], ['fell_back', 'degraded', 'off']]],
    ['Latency', 'ms', [['p50', 'p50', 'good'], ['p95', 'p95', 'warn'], ['p99', 'p99', 'bad']]],
  ],
  circuit_breaker: [['Window', '%', [['failed', 'failed', 'bad'], ['slow', 'slow', 'warn']]]],
  bulkhead: [['Permits', 'calls', [['in_use', 'in use', 'good'], ['limit', 'limit', 'off'], ['queued', 'queued', 'warn']]]],
};

function detail(kind, name) {
  const mark = h('p', { id: 'state' });
  const charts = (CHARTS[kind] ?? []).map(([title, unit, lines]) => [chart(title, unit, lines.map(([, label, colour]) => ({ label, colour }))), lines]);
  const figures = h('div', { id: 'figures' });
  const settings = h('div', {});
  const log = h('div', {});
  page.replaceChildren(
    h('p', {}, h('a', { href: '#/' }, '← Components')),
    h('h1', {}, `${words(kind)} ${name}`), mark, controls(kind, name),
    charts.map(([one]) => one.box)[0] ?? '', ...charts.slice(1).map(([one]) => one.box),
    h('h2', {}, 'Figures'), figures,
    settings,
    h('h2', {}, 'What happened'), log);
  if (kind !== 'operations') showSettings(kind, name, settings);
  return () => {
    const now = store.stats?.[kind]?.[name];
    if (!now) {
      mark.textContent = store.stats ? 'There is no such component.' : 'Waiting for the server.';
      return;
    }
    const { level, mark: text } = judged(kind, name, now);
    mark.className = `${level}-text`;
    mark.textContent = now.reason ? `${text}: ${reason(now.reason)}` : text;
    for (const [one, lines] of charts) one.update(store.times, lines.map(([figure]) => store.past.get(`${kind}/${name}/${figure}`)));
    figures.replaceChildren(table(['figure', 'value'], flat(now)));
    const own = store.events.filter((event) => event.component === name && event.kind === kind);
    log.replaceChildren(own.length ? events(own.slice(0, 50)) : h('p', { class: 'empty' }, 'Nothing since this page was opened.'));
  };
}

function reason({ rule, ...more }) {
  const facts = Object.entries(more).map(([name, value]) => `${name} ${value}`);
  return [rule.replaceAll('_', ' '), ...facts].join(', ');
}

function flat(value, path = '') {
  if (value === null || typeof value !== 'object') return [[path, value === null ? '–' : typeof value === 'number' ? value.toLocaleString('en', { maximumFractionDigits: 6 }) : String(value)]];
  return Object.entries(value).flatMap(([key, inner]) => flat(inner, path ? `${path} ${key.replaceAll('_', ' ')}` : key.replaceAll('_', ' ')));
}

function controls(kind, name) {
  if (kind === 'operations') return '';
  const path = `${encodeURIComponent(kind)}/${encodeURIComponent(name)}`;
  const act = (label, does, method, where) => h('button', { type: 'button', title: does, onclick: () => change(method, where) }, label);
  const levers = kind === 'circuit_breaker'
    ? [['Force open', 'open', 'refuse every call'], ['Force closed', 'close', 'admit every call'], ['Disable', 'disable', 'admit every call and count none'], ['Resume', 'resume', 'decide by itself again']]
      .map(([label, lever, does]) => act(label, does, 'POST', `/circuit_breaker/${encodeURIComponent(name)}/${lever}`))
    : [];
  return h('div', { class: 'tools' }, levers, act('Reset', 'back to the state it had when it was new', 'POST', `/reset/${path}`));
}

async function change(method, path, body) {
  try {
    if (!store.token && !(await unlock())) return false;
    await ask(method, path, body);
    tell('');
    return true;
  } catch (error) {
    if (error.status === 401) forget();
    tell(error.message);
    return false;
  }
}

async function showSettings(kind, name, place) {
  const config = await ask('GET', '/config').catch(() => null);
  const fields = config?.[kind]?.[name];
  if (!fields || !place.isConnected) return;
  const rows = fields.map(({ field, value, origin }) => {
    const input = h('input', { value: value ?? '', 'aria-label': field });
    const set = h('button', { type: 'button', onclick: async () => {
      const done = await change('PATCH', `/config/${encodeURIComponent(kind)}/${encodeURIComponent(name)}`, { [field]: typed(input.value) });
      if (done) showSettings(kind, name, place);
    } }, 'Set');
    return [field, h('div', { class: 'tools' }, input, set), typeof origin === 'string' ? origin : JSON.stringify(origin)];
  });
  place.replaceChildren(h('h2', {}, 'Settings'), table(['setting', 'value', 'from'], rows));
}

function typed(text) {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true';
  return Number.isNaN(Number(trimmed)) ? trimmed : Number(trimmed);
}

// The other pages -------------------------------------------------------------------------------------

function fallbacks() {
  const place = h('div', {});
  page.replaceChildren(h('h1', {}, 'Fallbacks'), place);
  return () => {
    const known = Object.entries(store.stats?.fallback ?? {});
    place.replaceChildren(...known.flatMap(([name, now]) => {
      const levels = Object.entries(now.levels);
      const most = Math.max(1, ...levels.map(([, level]) => level.asked));
      return [
        h('h2', {}, h('a', { href: link('fallback', name) }, name)),
        h('div', { class: 'funnel' }, levels.flatMap(([level, { asked, served }]) => [
          h('span', {}, level.replaceAll('_', ' ')),
          h('progress', { max: most, value: served, 'aria-label': `${level}: ${served} of ${asked} served` }),
          h('span', {}, `${count(served)} of ${count(asked)}`),
        ])),
        h('p', { class: now.all_failed ? 'bad-text' : 'empty' }, `${count(now.all_failed)} got no answer at all`),
      ];
    }));
    if (!known.length) place.append(h('p', { class: 'empty' }, 'No fallback has been asked yet.'));
  };
}

function sites() {
  const place = h('div', {});
  page.replaceChildren(h('h1', {}, 'Functions'), place);
  ask('GET', '/sites').then((known) => {
    place.replaceChildren(...known.flatMap(({ site, stages }) => [
      h('h2', {}, h('a', { href: link('operations', site.operation) }, site.operation)),
      h('p', { class: 'empty' }, `${site.function}, ${site.place}`),
      table(['stage', 'component', 'settings'], (stages ?? []).map(({ kind, component, settings }) => [
        words(kind), h('a', { href: link(kind, component) }, component),
        settings.filter(({ value }) => value !== null).map(({ field, value }) => `${field} = ${value}`).join(', '),
      ])),
    ]));
    if (!known.length) place.append(h('p', { class: 'empty' }, 'No annotated functions.'));
  }).catch((error) => tell(error.message));
  return () => {};
}

function alerts() {
  const place = h('div', {});
  page.replaceChildren(h('h1', {}, 'Alerts'), place);
  return () => {
    const known = Object.entries(store.stats?.alert ?? {});
    place.replaceChildren(known.length
      ? table(['alert', 'state', 'signal', 'of', 'now', 'fired'], known.map(([name, now]) => {
        const { level, mark } = judged('alert', name, now);
        return [h('a', { href: link('alert', name) }, name), h('span', { class: `${level}-text` }, mark), now.signal, now.operation ?? 'all', now.value === null ? '–' : now.value.toPrecision(3), count(now.fired)];
      }))
      : h('p', { class: 'empty' }, 'No alerts are set.'));
  };
}

function events(list) {
  return table(['time', 'what', 'component', 'more'], list.map(({ at, kind, component, what, lost }) => {
    if (lost) return [at.toLocaleTimeString(), `${count(lost)} events were lost`, '', ''];
    const { event, ...more } = what;
    return [at.toLocaleTimeString(), event.replaceAll('_', ' '), h('a', { href: link(kind, component) }, `${words(kind)} ${component}`), facts(more)];
  }));
}

function facts(more) {
  return Object.entries(more).filter(([, value]) => value !== null).map(([name, value]) => `${name.replaceAll('_', ' ')} ${fact(value)}`).join(', ');
}

function fact(value) {
  if (typeof value !== 'object') return String(value).replaceAll('_', ' ');
  return 'nanos' in value ? time(value.secs + value.nanos / 1e9) : reason({ rule: '', ...value }).trim();
}

function eventLog() {
  const place = h('div', { id: 'events' });
  page.replaceChildren(h('h1', {}, 'Events'), place);
  return () => place.replaceChildren(store.events.length ? events(store.events.slice(0, 200)) : h('p', { class: 'empty' }, 'Nothing since this page was opened.'));
}

// Who may ---------------------------------------------------------------------------------------------

const dialog = document.getElementById('token-dialog');
const field = document.getElementById('token');
const problem = document.getElementById('token-error');
const unlockButton = document.getElementById('unlock');

function forget() {
  store.token = '';
  unlockButton.textContent = 'Unlock';
}

/** Asks for the token; whether there is one now. */
function unlock() {
  problem.textContent = '';
  field.value = '';
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(Boolean(store.token));
  });
}

dialog.querySelector('form').addEventListener('submit', async (submitted) => {
  submitted.preventDefault();
  store.token = field.value.trim();
  try {
    await ask('GET', '/alerts');
    unlockButton.textContent = 'Lock';
    dialog.close();
    reconnect();
  } catch (error) {
    forget();
    problem.textContent = error.message;
  }
});
document.getElementById('token-cancel').addEventListener('click', () => dialog.close());
unlockButton.addEventListener('click', () => {
  if (!store.token) return void unlock();
  forget();
  reconnect();
});

// ------------------------------------------------------------------------------------------------------

const PAGES = { '': components, fallbacks, sites, alerts, events: eventLog };
let draw = () => {};

/** What is no well-formed text is taken as it stands. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show() {
  const [first = '', second] = location.hash.replace(/^#\//, '').split('/').map(decoded);
  draw = second === undefined ? (PAGES[first] ?? components)() : detail(first, second);
  document.querySelectorAll('nav a').forEach((a) => {
    const current = a.getAttribute('href') === `#/${first}` && second === undefined;
    if (current) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  });
  draw();
}

// While a button is down nothing is drawn anew: the click would be lost with what it began on.
let pressed = false;
addEventListener('pointerdown', () => { pressed = true; });
for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => { pressed = false; });

/** Draws anew and leaves the focus where it was. */
function redraw() {
  if (pressed) return;
  const focused = page.contains(document.activeElement) && document.activeElement.getAttribute('href');
  draw();
  if (focused && document.activeElement === document.body) {
    [...page.querySelectorAll('a')].find((a) => a.getAttribute('href') === focused)?.focus({ preventScroll: true });
  }
}

addEventListener('hashchange', () => {
  show();
  // Not behind the header, which stays.
  page.focus({ preventScroll: true });
  scrollTo(0, 0);
});
// Charts have their colours from when they were made.
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
addEventListener('keydown', (key) => {
  if (key.key === '/' && !['INPUT', 'SELECT'].includes(document.activeElement.tagName)) {
    key.preventDefault();
    page.querySelector('input[type=search]')?.focus();
  }
});
onChange(redraw);
const connection = document.getElementById('connection');
start((connected, text) => {
  connection.textContent = connected ? 'live' : text;
  connection.className = connected ? '' : 'lost';
});
show();
changed();
