// Building blocks of the pages. Text is always inserted as text, never as HTML.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const count = (number) => (number ?? 0).toLocaleString('en');

export function time(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds === 0) return '0 s';
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(1)} ms`;
  return `${seconds.toFixed(2)} s`;
}

export const share = (part) => `${Number((100 * part).toFixed(1))} %`;

/** Replaces underscores with spaces: `circuit_breaker` becomes `circuit breaker`. */
export const words = (name) => name.replaceAll('_', ' ');

/** A name that wraps only between its parts. */
export const breaking = (text) => text.split(/(?<=[_/.:-])/).flatMap((part, index) => (index ? [h('wbr'), part] : [part]));

/** An identifier that can wrap after every eight characters. */
export const inPieces = (id) => id.match(/.{1,8}/gu).flatMap((part, index) => (index ? [h('wbr'), part] : [part]));

/** A line chart of the latest values, without axes. */
export function sparkline(values, label) {
  const last = (values ?? []).slice(-60);
  const most = Math.max(1e-9, ...last.filter((value) => value !== null));
  const points = last.map((value, index) => [60 - last.length + index, value]).filter(([, value]) => value !== null);
  return svg('svg', { viewBox: '0 0 60 28', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    svg('polyline', { points: points.map(([x, value]) => `${x},${26 - (24 * value) / most}`).join(' ') }));
}

/**
 * A table. On a narrow screen, the rows of a table with more than two columns are stacked (`style.css`). The roles are
 * explicit because browsers drop the implicit ones when the display type changes.
 */
export function table(head, rows, name = '') {
  const form = head.length > 2 ? 'stacks' : 'pairs';
  const cells = (row) => row.map((cell, index) => h('td', { role: 'cell', 'data-label': head[index] }, h('div', {}, cell)));
  return h('table', { role: 'table', class: `${form} ${name}` },
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, head.map((text) => h('th', { role: 'columnheader', scope: 'col' }, text)))),
    h('tbody', { role: 'rowgroup' }, rows.map((row) => h('tr', { role: 'row' }, cells(row)))));
}

export const empty = (text) => h('p', { class: 'empty' }, text);

export function link(kind, name) {
  if (kind === 'chaos') return '#/chaos';
  return `#/${encodeURIComponent(kind)}/${encodeURIComponent(name)}`;
}
