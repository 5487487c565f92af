// Tests the dashboard in Chromium: `node dashboard.mjs PATH_OF_PAYMENTS`, or with the path in `PAYMENTS`.

import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { accessible, fits } from './audit.mjs';
import { launch, step, watch, wrong } from './harness.mjs';
import { TOKEN, faults, freeze, kill, orderTwice, sendToAdmin, start, thaw } from './service.mjs';

const LIMIT = 55_000; // ms, for the whole run
const WAIT = 15_000; // ms, for one element to appear; the breaker can wait some seconds before it probes
const LARGEST = 120 * 1024; // bytes of the whole dashboard, gzipped

const program = process.argv[2] ?? process.env.PAYMENTS;
if (!program) {
  console.error('usage: node dashboard.mjs PATH_OF_PAYMENTS (or set PAYMENTS)');
  process.exit(1);
}
setTimeout(() => {
  console.error(`not done within ${LIMIT / 1000} s`);
  process.exit(1);
}, LIMIT).unref();

async function run() {
  const base = await start(program);
  const browser = await launch();
  try {
    await look(base, await browser.newPage());
  } finally {
    await browser.close();
  }
}

async function look(base, page) {
  const watched = await watch(page);
  page.setDefaultTimeout(WAIT);
  const files = new Map();
  page.on('response', (response) => {
    if (response.url().startsWith(`${base}/dashboard`)) files.set(response.url(), response);
  });

  const breaker = page.locator('.card[data-kind=circuit_breaker][data-name=payment]');
  const connection = page.locator('#connection');
  const state = page.locator('#state');
  const dialog = page.getByRole('dialog');
  const log = page.locator('#events tbody tr');
  const alert = page.locator('#alerts tbody tr').filter({ hasText: 'charges_degraded' });
  const shows = (locator, text) => locator.filter({ hasText: text }).first().waitFor();
  const button = (name) => page.getByRole('button', { name, exact: true });
  const go = (name) => page.getByRole('navigation').getByRole('link', { name }).click();
  const heading = (name) => page.getByRole('heading', { level: 1, name }).waitFor();
  const open = async (path) => {
    await page.evaluate((hash) => { location.hash = hash; }, `#/${path}`);
    await heading(path.split('/')[1]);
  };
  /** Asserts that the page was not reloaded. */
  const notReloaded = async () => assert.ok(await page.evaluate(() => window.loadedOnce), 'the page was reloaded');
  /** Presses a key until the wanted element has the focus. */
  const press = async (key, wanted) => {
    const there = () => page.evaluate((selector) => document.activeElement.matches(selector), wanted);
    for (let pressed = 0; !(await there()); pressed += 1) {
      assert.ok(pressed < 80, `${key} does not reach ${wanted}`);
      await page.keyboard.press(key);
    }
    const outline = await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return outlineStyle === 'none' ? 0 : parseFloat(outlineWidth);
    });
    assert.ok(outline >= 2, `the focus on ${wanted} is not visible`);
  };

  await step('the grid shows the components, live', async () => {
    await page.goto(`${base}/dashboard`);
    // A reload would clear this.
    await page.evaluate(() => { window.loadedOnce = true; });
    await shows(connection, /^live$/);
    await shows(breaker.locator('.mark'), '● closed');
    const kinds = await page.locator('#grid .card').evaluateAll((cards) => cards.map((card) => card.dataset.kind));
    await shows(page.locator('#total'), /^All operations.*errors.*p99.*in use$/);
    for (const kind of ['operations', 'circuit_breaker', 'bulkhead', 'retry', 'fallback', 'alert', 'config_source']) assert.ok(kinds.includes(kind), `no ${kind} among ${kinds}`);
  });

  await step('the search and the kind narrow the grid', async () => {
    await page.getByRole('searchbox').fill('pay');
    await page.getByLabel('Kind').selectOption('circuit_breaker');
    assert.equal(await page.locator('#grid .card').count(), 1);
    await page.getByRole('searchbox').fill('no such component');
    await page.locator('#grid .empty').waitFor();
    assert.equal(await page.locator('#grid .card').count(), 0);
    await page.getByRole('searchbox').fill('');
    await page.getByLabel('Kind').selectOption('');
  });

  await step('no alert fires while the gateway is healthy', async () => {
    await go('Alerts');
    await heading('Alerts');
    // There is a value, so that the alert has enough samples.
    await shows(alert.filter({ hasText: '✓ not firing' }), '0 %');
    assert.equal(await page.locator('#firing').textContent(), '');
    await go('Components');
  });

  // Limits the open period, which doubles each time the probes fail.
  await sendToAdmin(base, 'PATCH', '/config/circuit_breaker/payment', '{"open_max":"2s"}');

  await step('the breaker opens on the page when the gateway fails', async () => {
    await faults(base, 'PUT', '{"error_rate":1}');
    await shows(breaker.locator('.mark'), '○ open');
    // The most urgent component comes first.
    await page.locator('#grid > .card.bad:first-child').waitFor();
  });

  await step('an alert fires, on its page and on every other', async () => {
    await shows(page.locator('#firing'), '1');
    await go('Alerts');
    await shows(alert, '✕ critical');
    await shows(page.locator('#log tbody tr'), 'severity critical');
    // The fallbacks have succeeded all the time.
    await shows(page.locator('#alerts tbody tr').filter({ hasText: 'orders_failing' }), '✓ not firing');
  });

  await step('the funnel shows how many calls each fallback level served', async () => {
    await faults(base, 'DELETE');
    await go('Fallbacks');
    await heading('Fallbacks');
    const level = page.getByRole('progressbar', { name: /^local cache: [1-9]\d* of [1-9]\d* served$/ });
    await level.waitFor();
    await open('fallback/charge');
    await page.getByRole('progressbar', { name: /^default: [1-9]\d* of [1-9]\d* served$/ }).waitFor();
    await shows(page.locator('#own'), 'Not used: replica, distributed cache, local cache, backup');
    const { value, max } = await page.getByRole('progressbar').first().evaluate((bar) => ({ value: bar.value, max: bar.max }));
    assert.ok(value > 0 && value <= max, `${value} of ${max}`);
  });

  // While the pages still show the outage.
  await step('every page is accessible in both color schemes and fits a narrow screen', async () => {
    await go('Components');
    // Wait until the cards are drawn.
    await page.locator('#grid .card').nth(10).waitFor();
    const known = await page.locator('#grid .card').evaluateAll((cards) => cards.map((card) => [card.dataset.kind, card.getAttribute('href').slice(2)]));
    // One of each kind.
    const details = [...new Map(known).values()];
    assert.ok(details.length >= 10, `${details}`);
    for (const path of ['', 'fallbacks', 'sites', 'alerts', 'events', ...details]) {
      await page.evaluate((hash) => { location.hash = hash; }, `#/${path}`);
      await page.waitForFunction((wanted) => decodeURIComponent(location.hash) === decodeURIComponent(wanted), `#/${path}`);
      await page.locator('#page h1').waitFor();
      if (path === 'sites') await page.getByRole('columnheader').first().waitFor();
      // All kinds have settings, except operations and settings sources.
      if (path.includes('/') && !/^(operations|config_source)/.test(path)) await page.locator('.settings input').first().waitFor();
      if (/^(operations|circuit_breaker|bulkhead)/.test(path)) await page.locator('.chart canvas').first().waitFor();
      for (const width of [840, 360]) {
        await page.setViewportSize({ width, height: 740 });
        await fits(page, `${path}, ${width} pixels`);
      }
      await accessible(page, path);
    }
    await page.setViewportSize({ width: 1280, height: 720 });
  });

  await step('the dark color scheme is dark', async () => {
    const colours = () => page.evaluate(() => ['background-color', 'color'].map((name) => Math.max(...getComputedStyle(document.body).getPropertyValue(name).match(/\d+/g).map(Number))));
    await page.emulateMedia({ colorScheme: 'dark' });
    const [background, text] = await colours();
    assert.ok(background < 64 && text > 192, `${background}, ${text}`);
    await page.emulateMedia({ colorScheme: 'light' });
    assert.ok((await colours())[0] > 192);
  });

  await step('the breaker closes again when the gateway recovers', async () => {
    await go('Components');
    await shows(breaker.locator('.mark'), '● closed');
    await notReloaded();
    await sendToAdmin(base, 'DELETE', '/config/circuit_breaker/payment');
  });

  await step('a component page shows a chart, figures, settings and the reasons of transitions', async () => {
    await open('circuit_breaker/payment');
    await shows(state, '● closed');
    const canvas = page.locator('.chart canvas');
    await canvas.waitFor();
    // An empty canvas is fully transparent.
    const drawn = await canvas.evaluate((it) => it.getContext('2d').getImageData(0, 0, it.width, it.height).data.some((value) => value));
    assert.ok(drawn, 'the chart is empty');
    // The color of the grid lines, which cover the most pixels.
    const grid = () => canvas.evaluate((it) => {
      const seen = new Map();
      for (const pixel of new Uint32Array(it.getContext('2d').getImageData(0, 0, it.width, it.height).data.buffer)) if (pixel) seen.set(pixel, (seen.get(pixel) ?? 0) + 1);
      return [...seen].sort((a, b) => b[1] - a[1])[0][0];
    });
    const light = await grid();
    await page.emulateMedia({ colorScheme: 'dark' });
    // The chart is redrawn once a second.
    for (let tries = 0; await grid() === light; tries++) {
      assert.ok(tries < 100, 'the chart keeps the colors of the light scheme');
      await page.waitForTimeout(50);
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await page.locator('#figures').getByRole('cell', { name: 'transitions', exact: true }).waitFor();
    await page.getByRole('heading', { name: 'Settings' }).waitFor();
    const transitions = page.locator('#own tbody tr');
    await shows(transitions.filter({ hasText: 'closed → open' }), /[\d.]+ % of \d+ calls failed, limit 50 %/);
    await transitions.filter({ hasText: 'half open → closed' }).first().waitFor();
  });

  await step('a line of the chart can be hidden', async () => {
    const slow = page.locator('.legend').getByRole('button', { name: 'slow' });
    await slow.click();
    assert.equal(await slow.getAttribute('aria-pressed'), 'false');
    await slow.click();
    assert.equal(await slow.getAttribute('aria-pressed'), 'true');
  });

  await step('events can be filtered, and new events appear', async () => {
    await go('Events');
    await heading('Events');
    const kinds = page.getByLabel('Event type');
    const words = page.getByLabel('Filter');
    await kinds.selectOption('transition');
    await shows(log, 'circuit breaker payment');
    const whats = () => log.locator('td:nth-child(2)').allTextContents();
    assert.deepEqual([...new Set(await whats())], ['transition']);
    await kinds.selectOption('seldom');
    const seldom = await whats();
    assert.ok(seldom.includes('alert changed') && !seldom.includes('rejected'), `${seldom}`);
    await kinds.selectOption('');
    // The key `/` focuses the filter.
    await page.getByRole('heading', { name: 'Events' }).click();
    await page.keyboard.press('/');
    await page.keyboard.type('idempotency replayed');
    assert.equal(await words.inputValue(), 'idempotency replayed');
    // The filter also applies to new events.
    const newest = () => page.evaluate(() => Number(document.querySelector('#events [data-key]')?.dataset.key ?? 0));
    const before = await newest();
    await orderTwice(base);
    await page.waitForFunction((then) => Number(document.querySelector('#events [data-key]')?.dataset.key ?? 0) > then, before);
    assert.deepEqual([...new Set(await whats())], ['replayed']);
    await words.fill('no such thing');
    await page.getByText('No events match.').waitFor();
    await words.fill('');
    await shows(page.locator('#tally'), /^\d+ of \d+ events/);
  });

  await step('the alert ends', async () => {
    await go('Alerts');
    await shows(alert, '✓ not firing');
    await shows(page.locator('#log tbody tr'), 'ended');
    assert.equal(await page.locator('#firing').textContent(), '');
  });

  await step('the keyboard reaches the content, a card that is redrawn, and its page', async () => {
    await go('Components');
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('Tab');
    await press('Tab', '.skip');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'page');
    await press('Tab', '[href="#/circuit_breaker/payment"]');
    const before = await page.evaluateHandle(() => document.activeElement);
    await page.waitForFunction((card) => !card.isConnected, before);
    await press('Tab', '[href="#/circuit_breaker/payment"]');
    await page.keyboard.press('Enter');
    await heading('circuit breaker payment');
  });

  await step('a wrong token shows an error message', async () => {
    watched.expect(/401.*\/alerts\)/);
    await button('Force open').focus();
    await page.keyboard.press('Enter');
    await dialog.waitFor();
    await accessible(page, 'the dialog');
    await page.keyboard.type('wrong');
    await page.keyboard.press('Enter');
    await shows(dialog.getByRole('alert'), /token/i);
    assert.ok(await dialog.isVisible());
    await shows(state, '● closed');
  });

  await step('the right token unlocks all controls of the circuit breaker', async () => {
    await dialog.getByLabel('Admin token').fill(TOKEN);
    await dialog.getByRole('button', { name: 'Unlock' }).click();
    await dialog.waitFor({ state: 'hidden' });
    await button('Lock').waitFor();
    await shows(state, '○ forced open: opened manually');
    for (const [control, mark] of [['Force closed', '● forced closed'], ['Disable', '– disabled'], ['Resume', '● closed'], ['Force open', '○ forced open'], ['Reset', '● closed']]) {
      await button(control).click();
      await shows(state, mark);
    }
    const transitions = page.locator('#own tbody tr');
    for (const change of ['closed → forced open', 'forced open → forced closed', 'forced closed → disabled', 'disabled → closed']) await shows(transitions, change);
    await shows(page.locator('#log tbody tr'), 'action reset');
    assert.ok(await page.locator('#notice').isHidden());
  });

  await step('a setting can be changed and cleared, and a contradiction shows an error message', async () => {
    watched.expect(/422.*\/config\/circuit_breaker\/payment\)/);
    const row = page.locator('.settings tbody tr').filter({ has: page.getByLabel('open_for', { exact: true }) });
    const field = row.getByRole('textbox');
    await shows(row, 'file');
    assert.equal(await field.inputValue(), '2s');
    // Unsaved input of other fields stays.
    await page.getByLabel('min_calls', { exact: true }).fill('7');
    await field.fill('3s');
    await field.press('Enter');
    await shows(row, 'run-time');
    assert.equal(await field.inputValue(), '3s');
    assert.equal(await page.getByLabel('min_calls', { exact: true }).inputValue(), '7');
    // The longest open period is 10 s.
    await field.fill('20s');
    await page.getByRole('button', { name: 'Set open_for', exact: true }).click();
    await shows(row.getByRole('alert'), /open_max.*open_for = 20s to 24 h/);
    const inForce = await (await fetch(`${base}/api/resilience/config`)).json();
    assert.equal(inForce.circuit_breaker.payment.find((setting) => setting.field === 'open_for').value, '3s');
    await button('Clear overrides').click();
    await shows(row, 'file');
    await button('Clear overrides').waitFor({ state: 'detached' });
    await field.fill('2s');
    await shows(page.locator('#log tbody tr'), 'action clear overrides');
  });

  await step('a server that hangs is not shown as live', async () => {
    freeze();
    await shows(connection, 'no data');
    thaw();
    await shows(connection, /^live$/);
  });

  await step('the page reconnects when the server restarts', async () => {
    await go('Events');
    const requests = { stream: 0, events: 0 };
    const count = (request) => {
      const name = request.url().split('/').pop();
      if (name in requests) requests[name] += 1;
    };
    const reach = async (least, timeout) => {
      while (requests.stream < least || requests.events < least) await page.waitForEvent('request', { timeout });
    };
    watched.expect(/ERR_.*\/(stream|events|chaos)\)/);
    page.on('request', count);
    await kill();
    await shows(connection, 'reconnecting');
    // After that, each stream waits for four seconds.
    await reach(4);
    await start(program, base);
    Object.assign(requests, { stream: 0, events: 0 });
    // The event wakes both streams, not only the one that began to wait last.
    await page.evaluate(() => dispatchEvent(new Event('online')));
    await reach(1, 2000);
    page.off('request', count);
    await shows(connection, /^live$/);
    await shows(log, 'reconnected');
    await orderTwice(base);
    await shows(log, 'replayed');
    await go('Components');
    await shows(breaker.locator('.mark'), '● closed');
    await notReloaded();
  });

  await step('the whole dashboard is small', async () => {
    let size = 0;
    for (const response of files.values()) size += gzipSync(await response.body()).length;
    assert.ok(files.size >= 10 && size <= LARGEST, `${files.size} files, ${size} bytes`);
  });

  await step('there are no page errors, console errors or policy violations', async () => {
    assert.deepEqual([...wrong], []);
    for (const [pattern, times] of watched.meant) assert.ok(times > 0, `the expected error ${pattern} did not occur`);
  });
}

try {
  await run();
  process.exit(0);
} catch (error) {
  console.error('failed -', error);
  // These are often the cause.
  wrong.forEach((what) => console.error(what));
  process.exit(1);
}
