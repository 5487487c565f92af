// The settings of one component: effective values, their origin, and forms to change them.

import { change, tell } from './access.js';
import { breaking, empty, h, table, words } from './parts.js';
import { ask } from './store.js';

/** Returns the section element, and `load` to (re)load the settings. */
export function settings(kind, name) {
  const place = h('div', {});
  const path = `/config/${encodeURIComponent(kind)}/${encodeURIComponent(name)}`;

  let shown = '';

  /** Keeps the focus and all unsaved input, except in the field `set` that was just saved. */
  async function load(set) {
    let fields;
    try {
      fields = (await ask('GET', '/config'))?.[kind]?.[name] ?? [];
    } catch (error) {
      shown = '';
      place.replaceChildren(h('h2', {}, 'Settings'), empty(`Cannot load the settings: ${error.message}`));
      return;
    }
    const news = JSON.stringify(fields);
    // Does not replace unchanged elements: a click on one of them could be lost.
    if (!place.isConnected || (news === shown && set === undefined)) return;
    shown = news;
    const typed = new Map([...place.querySelectorAll('input')].filter((input) => input.value !== input.defaultValue).map((input) => [input.name, input.value]));
    typed.delete(set);
    const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute('aria-label') : null;
    const isChanged = fields.some(({ origin }) => origin === 'runtime');
    place.replaceChildren(...fields.length ? [h('h2', {}, 'Settings'), isChanged ? clear() : '', table(['setting', 'value', 'origin'], fields.map(row), 'settings')] : []);
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
    return [breaking(field), [form, problem], h('span', { class: origin === 'runtime' ? 'warn-text' : undefined }, origin === 'runtime' ? 'run-time' : words(origin))];
  }

  function clear() {
    return h('p', {}, h('button', { type: 'button', title: 'Remove all run-time changes, so that the values of the code and the settings files apply again', onclick: async () => {
      try {
        if (await change('DELETE', path)) await load();
      } catch (error) {
        tell(error.message);
      }
    } }, 'Clear overrides'));
  }

  return { place, load };
}

/** Converts the input to a JSON value. Empty input becomes null, which removes the override. */
function meant(text) {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true';
  return Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
}
