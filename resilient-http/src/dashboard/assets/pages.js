// The pages for fallbacks, functions and alerts.

import { lastEvents } from './events.js';
import { judged, kindWords, signal } from './health.js';
import { breaking, count, empty, h, link, table, words } from './parts.js';
import { ask, store } from './store.js';

/** Fallback levels in the order in which they are tried. */
const LEVELS = ['replica', 'distributed_cache', 'local_cache', 'backup', 'default'];

/** How many calls each fallback level served. */
export function funnel({ levels, all_failed: failed }) {
  const known = Object.entries(levels).sort(([a], [b]) => LEVELS.indexOf(a) - LEVELS.indexOf(b));
  const asked = known.filter(([, level]) => level.asked);
  const idle = known.filter(([, level]) => !level.asked).map(([level]) => words(level));
  const most = Math.max(1, ...asked.map(([, level]) => level.asked));
  return h('div', {},
    h('ol', { class: 'funnel' }, asked.map(([level, { asked: times, served }]) => h('li', {},
      h('span', {}, words(level)),
      h('progress', { max: most, value: served, 'aria-label': `${words(level)}: ${served} of ${times} served` }),
      h('span', {}, `${count(served)} of ${count(times)} served`)))),
    idle.length ? empty(`Not used: ${idle.join(', ')}`) : null,
    h('p', { class: failed ? 'bad-text' : 'empty' }, `All levels failed: ${count(failed)}`));
}

export function fallbacks(page) {
  const place = h('div', {});
  page.replaceChildren(h('h1', {}, 'Fallbacks'), place);
  return () => {
    const known = Object.entries(store.stats?.fallback ?? {});
    place.replaceChildren(...known.flatMap(([name, now]) => [h('h2', {}, h('a', { href: link('fallback', name) }, name)), funnel(now)]));
    if (!known.length) place.append(empty('No fallback has been used yet.'));
  };
}

export function sites(page) {
  const place = h('div', {});
  page.replaceChildren(h('h1', {}, 'Functions'), place);
  let session = null;
  return () => {
    // Sites do not change while the program runs.
    if (session === store.session) return;
    session = store.session;
    ask('GET', '/sites').then((known) => {
      place.replaceChildren(...known.length ? known.flatMap(site) : [empty('No annotated functions.')]);
    }).catch((error) => place.replaceChildren(empty(`Cannot load the functions: ${error.message}`)));
  };
}

function site({ site: { operation, function: name, place }, stages }) {
  const setting = ({ field, value }) => h('li', {}, breaking(field), ` = ${value}`);
  return [
    h('h2', {}, h('a', { href: link('operations', operation) }, operation)),
    h('p', { class: 'empty' }, breaking(`${name}, ${place}`)),
    table(['stage', 'component', 'settings'], (stages ?? []).map(({ kind, component, settings }) => [
      kindWords(kind), h('a', { href: link(kind, component) }, breaking(component)),
      h('ul', { class: 'inline' }, settings.filter(({ value }) => value !== null).map(setting)),
    ])),
  ];
}

const WORST_FIRST = { critical: 0, warning: 1 };

export function alerts(page) {
  const place = h('div', { id: 'alerts' });
  const log = h('div', { id: 'log' });
  page.replaceChildren(h('h1', {}, 'Alerts'), place, h('h2', {}, 'Recent events'), log);
  return () => {
    const known = Object.entries(store.stats?.alert ?? {});
    const rank = ([, { severity }]) => WORST_FIRST[severity] ?? 2;
    known.sort((a, b) => rank(a) - rank(b));
    place.replaceChildren(known.length
      ? table(['alert', 'state', 'signal', 'operation', 'value', 'fired'], known.map(([name, now]) => {
        const { level, mark } = judged('alert', name, now);
        return [h('a', { href: link('alert', name) }, breaking(name)), h('span', { class: `${level}-text` }, mark), words(now.signal), now.operation ?? 'all', signal(now), count(now.fired)];
      }))
      : empty('No alerts are configured.'));
    log.replaceChildren(lastEvents('alert'));
  };
}
