// Page routing. Each page is created once and updated once a second.

import './access.js';
import { detail } from './detail.js';
import { eventLog } from './events.js';
import { components } from './grid.js';
import { alerts, fallbacks, sites } from './pages.js';
import { changed, onChange, start, store } from './store.js';

const PAGES = { '': components, fallbacks, sites, alerts, events: eventLog };
const page = document.getElementById('page');
let draw = () => {};

/** Decodes a part of the URL. Malformed text is returned unchanged. */
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

// No redraw while the pointer is pressed: the click would be lost if its element is replaced.
let pressed = false;
addEventListener('pointerdown', () => { pressed = true; });
for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => { pressed = false; });

/** Identifies a link across redraws. Links of events need a key of their own: several can lead to the same component. */
const identity = (a) => a.getAttribute('data-key') ?? a.getAttribute('href');

/** Redraws the page and keeps the focus. */
function redraw() {
  if (pressed) return;
  const focused = page.contains(document.activeElement) && identity(document.activeElement);
  draw();
  if (focused && document.activeElement === document.body) {
    [...page.querySelectorAll('a')].find((a) => identity(a) === focused)?.focus({ preventScroll: true });
  }
}

/** Number of firing alerts, shown on every page. */
const firing = document.getElementById('firing');
function countAlerts() {
  const fire = Object.values(store.stats?.alert ?? {}).filter(({ severity }) => severity).length;
  firing.textContent = fire ? ` ${fire}` : '';
}

addEventListener('hashchange', () => {
  show();
  // Keeps the content from scrolling behind the sticky header.
  page.focus({ preventScroll: true });
  scrollTo(0, 0);
});
// The target of the skip link is not a page.
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
// Absent in a program without fault injection.
if (document.querySelector('meta[name=chaos]')) {
  import('./chaos.js').then(({ chaos }) => {
    PAGES.chaos = chaos;
    if (location.hash === '#/chaos') show();
    // The page about faults is also drawn while the streams are broken.
    addEventListener('chaos', () => { if (location.hash === '#/chaos') redraw(); });
  });
}
