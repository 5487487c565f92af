// Charts over time, drawn by uPlot and updated in place.

import { h, svg } from './parts.js';

const HEIGHT = 200;
const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3]];

/** Each of `lines` is `[figure, label, color]`. */
export function chart(title, unit, lines) {
  const name = `${title} (${unit})`;
  const box = h('section', { class: 'chart', 'aria-label': name }, h('h2', {}, name));
  const legend = h('div', { class: 'legend' });
  const style = getComputedStyle(document.documentElement);
  // Read for each drawing, because the color scheme can change.
  const color = (of) => () => style.getPropertyValue(`--${of}`).trim();
  const width = () => Math.max(200, box.clientWidth - 14);
  let plot = null;
  const make = (data) => {
    const axis = { stroke: color('soft'), grid: { stroke: color('line'), width: 1 }, ticks: { stroke: color('line') } };
    const clock = (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleTimeString('en-GB'));
    plot = new window.uPlot({
      width: width(),
      height: HEIGHT,
      series: [{}, ...lines.map(([, label, of], index) => ({
        label, stroke: color(of), width: 2, dash: DASHES[index % DASHES.length], spanGaps: true,
      }))],
      axes: [{ ...axis, values: clock, space: 80, size: 34 }, { ...axis, size: 60 }],
      scales: { x: { range: (_, low, high) => [Math.min(low, high - 60), high] }, y: { range: (_, low, high) => [0, unit === '%' ? 100 : Math.max(1, (high ?? 1) * 1.1)] } },
      // The legend of uPlot cannot be used with the keyboard.
      legend: { show: false },
      cursor: { show: false },
    }, data, box);
    const canvas = box.querySelector('canvas');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `${name} over time: ${lines.map(([, label]) => label).join(', ')}`);
    box.append(legend);
  };
  legend.append(...lines.map(([, label, of], index) => {
    const sample = svg('svg', { viewBox: '0 0 26 10', class: `sample ${of}-line`, 'aria-hidden': 'true' },
      svg('line', { x1: 0, y1: 5, x2: 26, y2: 5, 'stroke-dasharray': DASHES[index % DASHES.length].join(' ') || 'none' }));
    const toggle = h('button', { type: 'button', 'aria-pressed': 'true', title: 'Show or hide this line', onclick: () => {
      const shown = toggle.getAttribute('aria-pressed') !== 'true';
      toggle.setAttribute('aria-pressed', String(shown));
      plot.setSeries(index + 1, { show: shown });
    } }, sample, label);
    return toggle;
  }));
  new ResizeObserver(() => plot?.setSize({ width: width(), height: HEIGHT })).observe(box);
  return {
    box,
    /** `values` returns the values of a figure. */
    update(times, values) {
      const data = [times, ...lines.map(([figure]) => values(figure) ?? times.map(() => null))];
      // With a single point, uPlot would show a whole day.
      if (times.length === 1) data.forEach((line, index) => { data[index] = [index ? null : times[0] - 60, ...line]; });
      if (plot) plot.setData(data);
      else if (box.isConnected) make(data);
    },
  };
}
