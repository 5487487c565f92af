// Starts a shipped scenario, after its plan was shown and confirmed.

import { change } from './access.js';
import { breaking, empty, h, table } from './parts.js';
import { get, refresh, state } from './chaos-state.js';
import { follow } from './chaos-journal.js';

let known = null;
let name = '';

/** The shipped scenarios do not change while the program runs. */
export async function scenarios() {
  known ??= (await get('/chaos/scenarios')).scenarios;
  return known;
}

/** Why a scenario cannot start, or an empty text. */
function obstacle({ environment }) {
  const here = state.now?.environment;
  if (!here) return 'The environment of the program is not known: set RESILIENT_ENVIRONMENT.';
  const fits = environment.some((pattern) => new RegExp(`^${pattern.split('*').map(RegExp.escape ?? plain).join('.*')}$`).test(here));
  return fits ? '' : `Only in ${environment.join(', ')}; this is ${here}.`;
}

const plain = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** The table of scenarios. */
export function list(all) {
  const isBusy = Boolean(state.now?.experiment);
  return table(['scenario', 'hypothesis', 'duration', 'action'], all.map((scenario) => {
    const why = obstacle(scenario);
    const start = h('button', { type: 'button', disabled: isBusy || why !== '', 'aria-label': `Start ${scenario.name}`, onclick: () => confirm(scenario) }, 'Start …');
    return [scenario.name, scenario.hypothesis, `${Math.round(scenario.duration_seconds)} s`, [start, why ? h('p', { class: 'empty' }, why) : '']];
  }), 'scenarios');
}

async function confirm(scenario) {
  const problem = h('p', { class: 'bad-text', role: 'alert' });
  const plan = h('pre', { tabindex: '0', 'aria-label': 'Plan' }, 'Loading the plan …');
  const by = h('input', { id: 'by', value: name, maxlength: '64', autocomplete: 'off' });
  const attended = h('input', { type: 'checkbox', id: 'attended', checked: true });
  const start = h('button', { type: 'submit', class: 'danger', disabled: true }, 'Start the experiment');
  const dialog = h('dialog', { id: 'start-dialog', 'aria-labelledby': 'start-title' },
    h('form', { method: 'dialog' },
      h('h2', { id: 'start-title' }, `Start ${scenario.name}?`),
      h('p', {}, `It injects faults into the real calls of this program, in the environment ${state.now?.environment}. All faults are removed if the steady state fails.`),
      h('p', {}, h('strong', {}, 'Hypothesis: '), scenario.hypothesis),
      plan, problem,
      h('p', {}, h('label', { for: 'by' }, 'Your name, for the log'), by),
      h('p', { class: 'check' }, attended, h('label', { for: 'attended' }, 'Abort the experiment if this page is closed')),
      h('menu', {}, h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'), start)));
  dialog.addEventListener('close', () => dialog.remove());
  dialog.addEventListener('submit', async (submitted) => {
    submitted.preventDefault();
    name = by.value.trim();
    start.disabled = true;
    problem.textContent = '';
    try {
      const body = { scenario: scenario.name, attended: attended.checked, ...(name ? { by: name } : {}) };
      const begun = await change('POST', '/chaos/experiments', body);
      if (begun) {
        // An attended experiment waits for this page.
        follow(begun.id);
        dialog.close();
        refresh();
        return;
      }
      problem.textContent = 'Not started: no admin token was entered.';
    } catch (error) {
      problem.textContent = `Not started: ${error.message}`;
    }
    start.disabled = false;
  });
  let planned;
  try {
    planned = await change('POST', '/chaos/experiments', { scenario: scenario.name, mode: 'plan' });
    if (!planned) return;
  } catch (error) {
    planned = { plan: '', problems: [`the plan cannot be loaded: ${error.message}`] };
  }
  // The first line repeats the hypothesis, and the problems are shown below.
  plan.textContent = planned.plan.split('\n').slice(1).join('\n').split('\nIt would be refused now:')[0].trim();
  plan.hidden = !planned.plan;
  problem.replaceChildren(planned.problems.length ? h('ul', {}, planned.problems.map((one) => h('li', {}, one))) : '');
  start.disabled = planned.problems.length > 0;
  document.body.append(dialog);
  dialog.showModal();
}

/** The table of the experiments that ended. */
export function results(finished, open) {
  if (!finished.length) return empty('No experiment has ended since the program started.');
  return table(['scenario', 'result', 'score', 'recovery', 'started', 'by', 'report'], finished.map((one) => [
    one.scenario + (one.mode === 'probes' ? ' (probes only)' : ''),
    [h('span', { class: `${{ held: 'good', deviated: 'bad' }[one.state] ?? 'warn'}-text` }, one.state), one.reasons.slice(0, 1).map((why) => h('p', { class: 'empty' }, why))],
    one.score.total ? `${one.score.passed} of ${one.score.total}` : '–',
    one.recovery_seconds === null ? '–' : `${one.recovery_seconds.toFixed(1)} s`,
    new Date(one.started).toLocaleTimeString('en-GB'), breaking(one.by), open(one),
  ]), 'results');
}
