// The settings of one component: what is in force, where it came from, and another value for it.

import { change, tell } from './access.js';
import { breaking, empty, h, table, words } from './parts.js';
import { ask } from './store.js';

/** A place for them; `load` asks for them again. */
export function settings(kind, name) {
  const place = h('div', {});
  const path = `/config/${encodeURIComponent(kind)}/${encodeURIComponent(name)}`;

  let shown = '';

  /** What is being typed stays, but in the field that was set; so does the focus. */
  async function load(set) {
    let fields;
    try {
      fields = (await ask('GET', '/config'))?.[kind]?.[name] ?? [];
    } catch (error) {
      shown = '';
      place.replaceChildren(h('h2', {}, 'Settings'), empty(`They cannot be read: ${error.message}`));
      return;
    }
    const news = JSON.stringify(fields);
    // A click may be on its way to what stands there.
    if (!place.isConnected || (news === shown && set === undefined)) return;
    shown = news;
    const typed = new Map([...place.querySelectorAll('input')].filter((input) => input.value !== input.defaultValue).map((input) => [input.name, input.value]));
    typed.delete(set);
    const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute('aria-label') : null;
    const byHand = fields.some(({ origin }) => origin === 'runtime');
    place.replaceChildren(...fields.length ? [h('h2', {}, 'Settings'), byHand ? back() : '', table(['setting', 'value', 'from'], fields.map(row), 'settings')] : []);
    for (const input of place.querySelectorAll('input')) if (typed.has(input.name)) input.value = typed.get(input.name);
    if (focused !== null) place.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  function row({ field, value, origin }) {
    const input = h('input', { name: field, value: String(value ?? ''), 'aria-label': field, autocomplete: 'off', spellcheck: 'false' });
    const problem = h('p', { class: 'bad-text', role: 'alert' });
    const submit = async (submitted) => {
      submitted.preventDefault();
      problem.textContent = '';
      try {
        if (await change('PATCH', path, { [field]: meant(input.value) })) await load(field);
      } catch (error) {
        problem.textContent = error.message;
        input.setAttribute('aria-invalid', 'true');
      }
    };
    const form = h('form', { class: 'tools', onsubmit: submit }, input, h('button', { 'aria-label': `Set ${field}` }, 'Set'));
    return [breaking(field), [form, problem], h('span', { class: origin === 'runtime' ? 'warn-text' : undefined }, origin === 'runtime' ? 'run-time, by hand' : words(origin))];
  }

  function back() {
    return h('p', {}, h('button', { type: 'button', title: 'back to what the program and its files say', onclick: async () => {
      try {
        if (await change('DELETE', path)) await load();
      } catch (error) {
        tell(error.message);
      }
    } }, 'Take changes back'));
  }

  return { place, load };
}

/** As JSON: nothing takes the value away. */
function meant(text) {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true';
  return Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
}
