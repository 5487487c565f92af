// Admin token, and error messages of the server.

import { ask, reconnect, store } from './store.js';

const dialog = document.getElementById('token-dialog');
const field = document.getElementById('token');
const problem = document.getElementById('token-error');
const button = document.getElementById('unlock');
const notice = document.getElementById('notice');

/** Shows a message until the next action, or until it is closed. */
export function tell(text) {
  notice.querySelector('p').textContent = text;
  notice.hidden = !text;
}

notice.querySelector('button').addEventListener('click', () => tell(''));

/** Forgets the token, for example because it is wrong. */
export function forget() {
  store.token = '';
  button.textContent = 'Unlock';
}

/** Asks the user for the token. Resolves to whether a token is set now. */
export function unlock(why = '') {
  problem.textContent = why;
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
    button.textContent = 'Lock';
    dialog.close();
    reconnect();
  } catch (error) {
    forget();
    problem.textContent = error.message;
  }
});
document.getElementById('token-cancel').addEventListener('click', () => dialog.close());
button.addEventListener('click', () => {
  if (!store.token) return void unlock();
  forget();
  reconnect();
});

/** Sends a change. Throws the error of the server. Resolves to the response, or to false if the user entered no token. */
export async function change(method, path, body) {
  tell('');
  if (!store.token && !(await unlock())) return false;
  try {
    return (await ask(method, path, body)) ?? true;
  } catch (error) {
    if (error.status === 401) forget();
    throw error;
  }
}
