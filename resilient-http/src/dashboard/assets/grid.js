// All components, the most urgent first.

import { breaking, count, empty, h, link, sparkline, words } from './parts.js';
import { KINDS, judged, judgedTotal, kindWords } from './health.js';
import { store } from './store.js';

const SHOWN = 500;

function all() {
  const stats = store.stats ?? {};
  return KINDS.flatMap((kind) => Object.entries(stats[kind] ?? {}).map(([name, now]) => ({ kind, name, now, ...judged(kind, name, now) })));
}

export function components(page) {
  const search = h('input', { type: 'search', placeholder: 'Search', 'aria-label': 'Search components' });
  const kinds = h('select', { 'aria-label': 'Kind' }, h('option', { value: '' }, 'All kinds'), KINDS.map((kind) => h('option', { value: kind }, kindWords(kind))));
  const warnings = h('div', {});
  const total = h('p', { class: 'facts', id: 'total' });
  const grid = h('div', { class: 'grid', id: 'grid' });
  const draw = () => {
    const wanted = search.value.trim().toLowerCase();
    const known = all();
    const shown = known.filter(({ kind, name }) => (!kinds.value || kinds.value === kind) && name.toLowerCase().includes(wanted));
    shown.sort((a, b) => b.weight - a.weight || a.name.localeCompare(b.name));
    grid.replaceChildren(...shown.slice(0, SHOWN).map(card));
    if (shown.length > SHOWN) grid.append(empty(`${count(shown.length - SHOWN)} more components are not shown: use the search.`));
    if (!shown.length) grid.append(empty(!store.stats ? 'Waiting for the server.' : known.length ? 'No components match.' : 'No components yet. A component appears when it is first used.'));
    warnings.replaceChildren(...wrong(store.stats));
    if (store.stats) total.replaceChildren(...['All operations', ...judgedTotal(store.stats.total).facts].filter(Boolean).map((fact) => h('span', {}, fact)));
  };
  search.addEventListener('input', draw);
  kinds.addEventListener('change', draw);
  page.replaceChildren(h('h1', {}, 'Components'), h('div', { class: 'tools' }, search, kinds), warnings, total, grid);
  return draw;
}

/** Problems that affect all components. */
function wrong(stats) {
  const off = stats?.enabled === false ? ['Protection is turned off: calls skip all stages except fallbacks and idempotency keys.'] : [];
  return [...off, ...(stats?.conflicts ?? [])].map((text) => h('p', { class: 'bad-text' }, text));
}

function card({ kind, name, level, mark, facts, spark }) {
  const values = spark && store.past.get(`${kind}/${name}/${spark}`);
  return h('a', { class: `card ${level}`, href: link(kind, name), 'data-kind': kind, 'data-name': name },
    h('div', { class: 'kind' }, kindWords(kind)),
    h('div', { class: 'name' }, breaking(name)),
    h('div', { class: 'mark' }, mark),
    h('div', { class: 'facts' }, facts.filter(Boolean).map((fact) => h('span', {}, fact))),
    values ? sparkline(values, `${words(spark)} in the last minute`) : null);
}
