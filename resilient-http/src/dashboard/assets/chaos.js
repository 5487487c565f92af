// The page about faults and experiments, and the banner on every other page while a fault is armed.

import { tell } from './access.js';
import { journal, line, phase } from './chaos-journal.js';
import { list, results, scenarios } from './chaos-start.js';
import { age, clock, isActive, isRenewed, left, onState, start, state } from './chaos-state.js';
import { stopBox } from './chaos-stop.js';
import { breaking, count, empty, h, share, table, words } from './parts.js';
import { headers, prefix, store } from './store.js';

const LINES = 10;

/** What is active, in a line. */
function summary() {
  const { faults, experiment, monkey } = state.now;
  const armed = faults.length === 1 ? `1 fault is armed (${faults[0].action} on ${faults[0].target})` : `${faults.length} faults are armed`;
  return [
    faults.length ? armed : '',
    experiment ? `experiment ${experiment.scenario} runs: ${phase(experiment.phase)}` : '',
    monkey ? `monkey ${monkey.name} runs` : '',
  ].filter(Boolean).join('; ');
}

const banner = h('a', { id: 'chaos-banner', href: '#/chaos', role: 'status', hidden: true });
document.querySelector('header').append(banner);

function drawBanner() {
  banner.hidden = !isActive() || location.hash === '#/chaos';
  if (banner.hidden) return;
  const text = `▲ ${summary()}${state.stale ? ' (last known state)' : ''} – show and stop`;
  // Assistive technology reads each change aloud.
  if (banner.textContent !== text) banner.textContent = text;
}

/** A section that is replaced only if what it shows has changed: a click on a replaced button would be lost. */
function section(title) {
  const place = h('div', {});
  let shown = null;
  const draw = (what, make) => {
    const key = JSON.stringify(what);
    if (key === shown) return;
    shown = key;
    place.replaceChildren(...[make()].flat());
  };
  return { parts: [h('h2', {}, title), place], draw, place };
}

export function chaos(page) {
  const fresh = h('p', { id: 'fresh' });
  const armed = section('Armed faults');
  const experiment = section('Experiment');
  const offered = section('Start a scenario');
  const ended = section('Last results');
  page.replaceChildren(h('h1', {}, 'Chaos'), stopBox, fresh,
    ...[armed, experiment, offered, ended].flatMap(({ parts }) => parts));
  let all = null;
  let wanted = false;
  return () => {
    freshness(fresh);
    if (!state.now) return;
    const { faults } = state.now;
    // The countdown runs on while the server is silent.
    armed.draw([faults, Math.floor(age())], () => (faults.length ? faultTable(faults) : empty('No fault is armed.')));
    experiment.draw([state.now.experiment, state.now.monkey, journal.entries.length], running);
    if (!all && !wanted) {
      wanted = true;
      scenarios().then((known) => { all = known; }).catch(() => { wanted = false; });
    }
    if (all) offered.draw([all.length, Boolean(state.now.experiment), state.now.environment], () => list(all));
    const finished = state.experiments?.finished ?? [];
    ended.draw(finished, () => results(finished, report));
  };
}

function freshness(place) {
  const { now, stale } = state;
  place.className = stale ? 'bad-text' : 'empty';
  if (stale) {
    place.textContent = now ? `Not up to date for ${clock(age())}: ${stale}. The stop button sends its own requests.` : `Cannot load the state: ${stale}. The stop button sends its own requests.`;
  } else if (now) {
    place.textContent = `Environment: ${now.environment ?? 'not known'}. Limits: ${count(now.limits.max_faults)} faults, ${share(now.limits.max_rate)} of the attempts. Injected since the start: ${count(now.injected)}.`;
  } else {
    place.textContent = 'Waiting for the server.';
  }
}

function ends(fault) {
  const rest = left(fault);
  if (rest === null) return 'renewed by its monkey';
  return [h('strong', {}, clock(rest)), isRenewed(fault) ? ' as planned' : ''];
}

function faultTable(faults) {
  return table(['ends in', 'fault', 'target', 'armed by', 'hit'], faults.map((fault) => [
    ends(fault),
    [`${fault.action} (${fault.id})`, (fault.warnings ?? []).map((text) => h('p', { class: 'warn-text' }, text))],
    breaking(fault.target), breaking(fault.by), `${count(fault.injected)} attempts`,
  ]), 'faults');
}

function running() {
  const { experiment: now, monkey } = state.now;
  const parts = [];
  if (monkey) {
    const last = monkey.last_decision;
    parts.push(h('p', {}, `The monkey ${monkey.name} runs, started by ${monkey.by}. Last decision: ${last ? `${last.fault ?? 'nothing'}, ${last.reason}` : 'none yet'}.`));
  }
  if (!now) return [...parts, empty('No experiment runs.')];
  const steps = (now.steps ?? []).length ? ` (${now.steps.join(', ')})` : '';
  const expected = now.duration_seconds ? ` of about ${Math.round(now.duration_seconds)} s` : '';
  parts.push(
    h('p', { id: 'phase' }, h('strong', {}, now.scenario), `: ${phase(now.phase)}${steps}. ${Math.round(now.seconds)} s${expected}, started by ${now.by}.`),
    now.hypothesis ? h('p', {}, h('strong', {}, 'Hypothesis: '), now.hypothesis) : '',
    h('ol', { id: 'journal' }, (journal.id === now.id ? journal.entries : []).slice(-LINES).map((entry) => {
      const [level, text] = line(entry);
      return h('li', { class: level ? `${level}-text` : undefined }, h('span', {}, `${entry.seconds.toFixed(1)} s`), text);
    })));
  return parts;
}

/** A link to a report. With a token, a plain link would be refused, so the report is saved as a file. */
function report({ id, scenario, state: result }) {
  const path = `${prefix}/chaos/experiments/${id}/report`;
  const open = async (click) => {
    if (!store.token) return;
    click.preventDefault();
    try {
      const response = await fetch(path, { headers: headers() });
      if (!response.ok) throw new Error(`the server returned status ${response.status}`);
      const url = URL.createObjectURL(await response.blob());
      h('a', { href: url, download: `${scenario}-${id}.html` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      tell(`Cannot load the report: ${error.message}`);
    }
  };
  return h('a', { href: path, target: '_blank', rel: 'noopener', onclick: open, 'aria-label': `Report of ${scenario}, ${words(result)}` }, 'Report');
}

onState(() => {
  drawBanner();
  dispatchEvent(new Event('chaos'));
});
addEventListener('hashchange', drawBanner);
start();
