// The live dashboard in a real Chromium: `node dashboard.mjs PATH_OF_PAYMENTS`, or the path in `PAYMENTS`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const TOKEN = 'a-token-for-the-tests';
const LIMIT = 55_000; // ms, for the whole run
const WAIT = 15_000; // ms, for one thing to show; the breaker may wait some seconds before it probes

const program = process.argv[2] ?? process.env.PAYMENTS;
if (!program) {
  console.error('give the path of the payments program, as the argument or in PAYMENTS');
  process.exit(1);
}

const service = spawn(program, ['--port', '0', '--gateway-port', '0', '--load', '20', '--token', TOKEN], { stdio: ['ignore', 'pipe', 'inherit'] });
// However this ends, the program does not outlive it.
process.on('exit', () => service.kill('SIGKILL'));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
setTimeout(() => {
  console.error(`not done within ${LIMIT / 1000} s`);
  process.exit(1);
}, LIMIT).unref();

/** Where the service listens: it says so itself, as the port is the system's choice. */
async function address() {
  for await (const line of createInterface({ input: service.stdout })) {
    const [word, rest] = line.split(' ');
    if (word !== 'service') continue;
    // Read on, or the program waits some day for room to print.
    service.stdout.resume();
    return rest;
  }
  throw new Error('the program ended before it listened');
}

/** One line for each step that held. */
async function step(name, does) {
  try {
    await does();
  } catch (error) {
    throw new Error(name, { cause: error });
  }
  console.log(`ok - ${name}`);
}

async function run() {
  const base = await address();
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    await look(base, await browser.newPage());
  } finally {
    await browser.close();
  }
}

async function faults(base, method, body) {
  const response = await fetch(`${base}/gateway/faults`, { method, body, headers: { 'content-type': 'application/json' } });
  assert.ok(response.ok, `the gateway answered ${response.status}`);
}

async function look(base, page) {
  const wrong = [];
  let refused = 0;
  page.on('console', (message) => {
    if (message.type() !== 'error') return;
    // Chromium notes every failed request; of these only the wrong token's is meant.
    if (message.location().url === `${base}/api/resilience/alerts` && message.text().includes('401')) refused += 1;
    else wrong.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => wrong.push(`page: ${error.message}`));
  await page.exposeFunction('noteViolation', (text) => wrong.push(`policy: ${text}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => window.noteViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
  });
  page.setDefaultTimeout(WAIT);

  const breaker = page.locator('.card[data-kind=circuit_breaker][data-name=payment]');
  const state = page.locator('#state');
  const dialog = page.getByRole('dialog');
  // The payments program sets no alerts.
  const noAlerts = page.getByText('No alerts are set.');
  const shows = (locator, text) => locator.filter({ hasText: text }).waitFor();
  const button = (name) => page.getByRole('button', { name, exact: true });
  const go = (name) => page.getByRole('navigation').getByRole('link', { name }).click();
  const heading = (name) => page.getByRole('heading', { level: 1, name }).waitFor();

  await step('the grid shows the components, live', async () => {
    await page.goto(`${base}/dashboard`);
    // Lost with a reload: tells later that there was none.
    await page.evaluate(() => { window.loadedOnce = true; });
    await shows(page.locator('#connection'), /^live$/);
    await shows(breaker.locator('.mark'), '● closed');
    const kinds = await page.locator('#grid .card').evaluateAll((cards) => cards.map((card) => card.dataset.kind));
    for (const kind of ['operations', 'circuit_breaker', 'bulkhead', 'retry', 'fallback']) assert.ok(kinds.includes(kind), `no ${kind} among ${kinds}`);
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

  await step('the breaker opens before the eyes when the gateway fails', async () => {
    await faults(base, 'PUT', '{"error_rate":1}');
    await shows(breaker.locator('.mark'), '○ open');
    // What needs to be looked at comes first.
    await page.locator('#grid > .card.bad:first-child').waitFor();
  });

  await step('the breaker closes again when the gateway is well', async () => {
    await faults(base, 'DELETE');
    await shows(breaker.locator('.mark'), '● closed');
    assert.ok(await page.evaluate(() => window.loadedOnce), 'the page was loaded anew');
  });

  await step('a card keeps the focus while it is drawn anew, and opens with Enter', async () => {
    const focused = () => page.evaluate(() => document.activeElement.getAttribute('href'));
    await page.getByRole('searchbox').focus();
    for (let pressed = 0; (await focused()) !== '#/circuit_breaker/payment'; pressed += 1) {
      assert.ok(pressed < 50, 'Tab does not reach the card');
      await page.keyboard.press('Tab');
    }
    const before = await page.evaluateHandle(() => document.activeElement);
    await page.waitForFunction((card) => !card.isConnected, before);
    assert.equal(await focused(), '#/circuit_breaker/payment');
    await page.keyboard.press('Enter');
    await heading('circuit breaker payment');
  });

  await step('the page of a component has its chart, figures and settings', async () => {
    await shows(state, '● closed');
    const canvas = page.locator('.chart canvas');
    await canvas.waitFor();
    // A canvas that nothing was drawn on is transparent all over.
    const drawn = await canvas.evaluate((it) => it.getContext('2d').getImageData(0, 0, it.width, it.height).data.some((value) => value));
    assert.ok(drawn, 'the chart is empty');
    await page.locator('#figures').getByRole('cell', { name: 'transitions', exact: true }).waitFor();
    await page.getByRole('heading', { name: 'Settings' }).waitFor();
    await shows(page.locator('main table').last(), 'circuit breaker payment');
  });

  await step('a wrong token is refused in words', async () => {
    await button('Force open').click();
    await dialog.getByLabel('Admin token').fill('wrong');
    await dialog.getByRole('button', { name: 'Unlock' }).click();
    await shows(dialog.getByRole('alert'), /token/i);
    assert.ok(await dialog.isVisible());
    await shows(state, '● closed');
  });

  await step('with the right token the circuit is forced open, and reset', async () => {
    await dialog.getByLabel('Admin token').fill(TOKEN);
    await dialog.getByRole('button', { name: 'Unlock' }).click();
    await dialog.waitFor({ state: 'hidden' });
    await button('Lock').waitFor();
    await shows(state, '○ forced open');
    await button('Reset').click();
    await shows(state, '● closed');
    assert.equal(await page.locator('#notice').textContent(), '');
  });

  await step('the events list tells what happened', async () => {
    await go('Events');
    await heading('Events');
    const rows = page.locator('#events tbody tr').filter({ hasText: 'circuit breaker payment' });
    await rows.filter({ hasText: 'from forced open, to closed' }).waitFor();
    await rows.filter({ hasText: 'reset' }).waitFor();
  });

  await step('the alerts page tells that none is set', async () => {
    await go('Alerts');
    await heading('Alerts');
    await noAlerts.waitFor();
  });

  await step('the fallbacks and the functions are listed', async () => {
    await go('Fallbacks');
    await heading('Fallbacks');
    await page.getByRole('progressbar').first().waitFor();
    await go('Functions');
    await heading('Functions');
    await page.getByRole('columnheader', { name: 'stage' }).first().waitFor();
  });

  await step('nothing scrolls sideways on a narrow screen', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    const pages = {
      Components: breaker,
      Fallbacks: page.getByRole('progressbar').first(),
      Functions: page.getByRole('columnheader').first(),
      Alerts: noAlerts,
      Events: page.locator('#events tbody tr').first(),
    };
    for (const [name, place] of Object.entries(pages)) {
      await go(name);
      await heading(name);
      await place.waitFor();
      await fits(page, name);
    }
    for (const path of ['circuit_breaker/payment', 'operations/order']) {
      await page.goto(`${base}/dashboard#/${path}`);
      await heading(path.split('/')[1]);
      await page.locator('.chart canvas').first().waitFor();
      await fits(page, path);
    }
  });

  await step('dark mode changes the background', async () => {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await background();
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.notEqual(await background(), light);
  });

  await step('no error in the page, none on the console, and the policy was kept', async () => {
    assert.deepEqual(wrong, []);
    assert.equal(refused, 1, 'the wrong token is refused once');
  });
}

async function fits(page, name) {
  const [needed, given] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(needed <= given, `${name} needs ${needed} of ${given} pixels`);
}

try {
  await run();
  process.exit(0);
} catch (error) {
  console.error('failed -', error);
  process.exit(1);
}
