// The pieces that pages are made of. Text only ever gets in as text.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const count = (number) => (number ?? 0).toLocaleString('en');

export function time(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 1e-3) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(1)} ms`;
  return `${seconds.toFixed(2)} s`;
}

const SVG = 'http://www.w3.org/2000/svg';

/** A line of the last values, without axes. */
export function sparkline(values, label) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 60 28');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  const last = (values ?? []).slice(-60);
  const most = Math.max(1e-9, ...last.filter((value) => value !== null));
  const points = last.map((value, index) => [60 - last.length + index, value]).filter(([, value]) => value !== null);
  const line = document.createElementNS(SVG, 'polyline');
  line.setAttribute('points', points.map(([x, value]) => `${x},${26 - (24 * value) / most}`).join(' '));
  svg.append(line);
  return svg;
}

export function table(head, rows) {
  return h('div', { class: 'scroll' },
    h('table', {},
      h('thead', {}, h('tr', {}, head.map((text) => h('th', { scope: 'col' }, text)))),
      h('tbody', {}, rows.map((cells) => h('tr', {}, cells.map((cell) => h('td', {}, cell)))))));
}

export function link(kind, name) {
  return `#/${encodeURIComponent(kind)}/${encodeURIComponent(name)}`;
}

/** A chart over time that is updated in place. */
export function chart(title, unit, series) {
  const box = h('div', { class: 'chart' }, h('h3', {}, `${title} (${unit})`));
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const dashes = [[], [6, 4], [2, 3], [10, 3, 2, 3]];
  let plot = null;
  const make = (data) => {
    const axis = { stroke: colour('soft'), grid: { stroke: colour('line'), width: 1 }, ticks: { stroke: colour('line') } };
    plot = new window.uPlot({
      width: Math.max(240, box.clientWidth - 14),
      height: 200,
      series: [{}, ...series.map(({ label, colour: name }, index) => ({
        label, stroke: colour(name), width: 2, dash: dashes[index % dashes.length], spanGaps: true,
      }))],
      axes: [axis, { ...axis, size: 60 }],
      scales: { y: { range: (_, low, high) => [0, unit === '%' ? 100 : Math.max(1e-3, (high ?? 1) * 1.1)] } },
      legend: { live: false },
    }, data, box);
  };
  const resized = new ResizeObserver(() => plot?.setSize({ width: Math.max(240, box.clientWidth - 14), height: 200 }));
  resized.observe(box);
  return {
    box,
    update(times, values) {
      const data = [times, ...values.map((line) => line ?? times.map(() => null))];
      if (plot) plot.setData(data);
      else if (box.isConnected) make(data);
    },
  };
}
