// Which page is shown. Each is drawn once and then updated with every second.

import './access.js';
import { detail } from './detail.js';
import { eventLog } from './events.js';
import { components } from './grid.js';
import { alerts, fallbacks, sites } from './pages.js';
import { changed, onChange, start, store } from './store.js';

const PAGES = { '': components, fallbacks, sites, alerts, events: eventLog };
const page = document.getElementById('page');
let draw = () => {};

/** What is no well-formed text is taken as it stands. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show() {
  const [first = '', second] = location.hash.replace(/^#\//, '').split('/').map(decoded);
  draw = second === undefined ? (PAGES[first] ?? components)(page) : detail(page, first, second);
  document.title = `${page.querySelector('h1').textContent} – Resilient`;
  document.querySelectorAll('nav a').forEach((a) => {
    const current = a.getAttribute('href') === `#/${first}` && second === undefined;
    if (current) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  });
  draw();
}

// While a button is down nothing is drawn anew: the click would be lost with what it began on.
let pressed = false;
addEventListener('pointerdown', () => { pressed = true; });
for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => { pressed = false; });

/** What a link is known by after it was drawn anew: an event's is not the only one to its component. */
const identity = (a) => a.getAttribute('data-key') ?? a.getAttribute('href');

/** Draws anew and leaves the focus where it was. */
function redraw() {
  if (pressed) return;
  const focused = page.contains(document.activeElement) && identity(document.activeElement);
  draw();
  if (focused && document.activeElement === document.body) {
    [...page.querySelectorAll('a')].find((a) => identity(a) === focused)?.focus({ preventScroll: true });
  }
}

/** How many alerts fire, on every page. */
const firing = document.getElementById('firing');
function countAlerts() {
  const fire = Object.values(store.stats?.alert ?? {}).filter(({ severity }) => severity).length;
  firing.textContent = fire ? ` ${fire}` : '';
}

addEventListener('hashchange', () => {
  show();
  // Not behind the header, which stays.
  page.focus({ preventScroll: true });
  scrollTo(0, 0);
});
// Its address is no page.
document.querySelector('.skip').addEventListener('click', (click) => {
  click.preventDefault();
  page.focus();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
addEventListener('keydown', (key) => {
  if (key.key === '/' && !['INPUT', 'SELECT'].includes(document.activeElement.tagName)) {
    key.preventDefault();
    page.querySelector('input[type=search]')?.focus();
  }
});
onChange(redraw);
onChange(countAlerts);
const connection = document.getElementById('connection');
start((connected, text) => {
  connection.textContent = connected ? 'live' : text;
  connection.className = connected ? '' : 'lost';
});
show();
changed();
