// The page of events, and tables of events on other pages.

import { breaking, count, empty, h, link, share, table, time, words } from './parts.js';
import { kindWords } from './health.js';
import { eventName, store } from './store.js';

const SHOWN = 200;
/** Events of single calls, which are frequent under load. */
const OF_CALLS = ['rejected', 'retrying', 'hedged', 'replayed', 'fallback_served', 'fallback_missed', 'fallback_failed', 'budget_exhausted', 'retry_after_too_long', 'fault_injected'];

/** The filter; kept while other pages are shown. */
const wanted = { text: '', event: '' };

const component = ({ kind, component: name }) => `${kindWords(kind)} ${name}`;

function matches(event) {
  // Gaps are always shown.
  if (event.gap) return true;
  const name = eventName(event);
  if (wanted.event === 'seldom' ? OF_CALLS.includes(name) : wanted.event && wanted.event !== name) return false;
  const text = `${words(name)} ${component(event)} ${facts(event.what)} ${event.correlation_id ?? ''}`.toLowerCase();
  return wanted.text.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

export function eventLog(page) {
  const search = h('input', { type: 'search', value: wanted.text, placeholder: 'Component or text' });
  const kinds = h('select', {}, h('option', { value: '' }, 'All events'), h('option', { value: 'seldom' }, 'All except events of single calls'));
  const offered = new Set(['']);
  const tally = h('p', { class: 'empty', id: 'tally' });
  const place = h('div', { id: 'events' });
  const offer = () => {
    const names = [...new Set(store.events.filter(({ gap }) => !gap).map(eventName)), wanted.event].filter((name) => name !== 'seldom' && !offered.has(name));
    names.sort().forEach((name) => {
      offered.add(name);
      kinds.append(h('option', { value: name }, words(name)));
    });
    kinds.value = wanted.event;
  };
  const draw = () => {
    offer();
    const shown = store.events.filter(matches);
    tally.textContent = store.listening || `${count(shown.length)} of ${count(store.events.length)} events${shown.length > SHOWN ? `, showing the latest ${SHOWN}` : ''}`;
    place.replaceChildren(shown.length ? events(shown.slice(0, SHOWN)) : empty(store.events.length ? 'No events match.' : 'No events since this page was opened.'));
  };
  search.addEventListener('input', () => {
    wanted.text = search.value.trim();
    draw();
  });
  kinds.addEventListener('change', () => {
    wanted.event = kinds.value;
    draw();
  });
  page.replaceChildren(h('h1', {}, 'Events'),
    h('div', { class: 'tools' }, h('label', {}, 'Filter', search), h('label', {}, 'Event type', kinds)), tally, place);
  return draw;
}

const clock = (at) => at.toLocaleTimeString('en-GB');

function events(list) {
  return table(['time', 'event', 'component', 'details'], list.map((event) => {
    if (event.gap) return [clock(event.at), event.gap === 'lost' ? `${count(event.count)} events were lost` : 'reconnected; earlier events are missing', '', ''];
    return [clock(event.at), words(event.what.event), h('a', { href: link(event.kind, event.component), 'data-key': event.key }, breaking(component(event))), facts(event.what)];
  }), 'events');
}

const of = (kind, name) => store.events.filter((event) => event.component === name && event.kind === kind);

/** The last events of one component, or of all of a kind. */
export function lastEvents(kind, name, most = 50) {
  const own = name === undefined ? store.events.filter((event) => event.kind === kind) : of(kind, name);
  return own.length ? events(own.slice(0, most)) : empty('No events since this page was opened.');
}

/** Key of the latest event of a component with this name. */
export const latest = (kind, name, event) => of(kind, name).find(({ what }) => what.event === event)?.key;

/** State of a circuit breaker, and the reasons of its transitions. */
export function transitions(name, now) {
  const own = of('circuit_breaker', name).filter(({ what }) => what.event === 'transition');
  const stands = `${words(now.state)} for ${time(now.unchanged_for)}${now.outage ? `: ${outage(now.outage)}` : ''}`;
  return [
    empty(`State: ${stands}.`),
    now.last_outage ? empty(`Last outage: began ${time(now.last_outage.age)} ago, lasted ${time(now.last_outage.lasted)}; ${cause(now.last_outage)}.`) : '',
    own.length
      ? table(['time', 'transition', 'reason'], own.slice(0, 20).map(({ at, what }) => [clock(at), `${words(what.from)} → ${words(what.to)}`, what.reason ? cause(what) : '']), 'events')
      : empty('No transitions since this page was opened.'),
  ];
}

/** Why a circuit opened, with the last error. */
const cause = (opening) => reason(opening.reason) + (opening.error ? `, last error: ${opening.error}` : '');

/** Why and since when a circuit is open, and the result of its last probe. */
export function outage(now) {
  const probe = now.last_probe;
  const result = probe ? `; last probe ${probe.failed ? 'failed' : 'succeeded'} ${time(probe.age)} ago${probe.error ? `: ${probe.error}` : ''}` : '';
  return `${cause(now)}; began ${time(now.age)} ago${result}`;
}

/** Describes the rule that opened a circuit. */
export function reason({ rule, ...more }) {
  switch (rule) {
    case 'failure_rate': return `${share(more.observed)} of ${count(more.calls)} calls failed, limit ${share(more.limit)}`;
    case 'slow_rate': return `${share(more.observed)} of ${count(more.calls)} calls were slow, limit ${share(more.limit)}`;
    case 'consecutive': return `${count(more.failures)} failures in a row`;
    case 'slow_in_flight': return `${count(more.calls)} slow calls in flight`;
    case 'probes_failed': return `${count(more.failed)} of ${count(more.ended)} probes failed`;
    case 'forced': return 'opened manually';
    default: return [words(rule), ...Object.entries(more).map(([name, value]) => `${words(name)} ${value}`)].join(', ');
  }
}

function facts({ event, ...more }) {
  if (event === 'alert_changed') more.severity ??= 'ended';
  return Object.entries(more).filter(([, value]) => value !== null).map(([name, value]) => `${words(name)} ${name === 'error' ? value : fact(value)}`).join(', ');
}

function fact(value) {
  if (typeof value === 'number') return String(Number(value.toPrecision(3)));
  if (typeof value !== 'object') return words(String(value));
  return 'nanos' in value ? time(value.secs + value.nanos / 1e9) : reason(value);
}
