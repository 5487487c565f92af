// Tests the page about faults and experiments in Chromium: `node chaos.mjs PATH_OF_PAYMENTS [FOLDER]`.
//
// With a folder, takes pictures of the page in several states.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { accessible, fits } from './audit.mjs';
import { launch, step, watch, wrong } from './harness.mjs';
import { TOKEN, freeze, sendToAdmin, start, thaw } from './service.mjs';

const LIMIT = 90_000; // ms, for the whole run
const WAIT = 20_000; // ms, for one element to appear; the steady state is observed for some seconds

const [program, folder] = process.argv.slice(2);
if (!program) {
  console.error('usage: node chaos.mjs PATH_OF_PAYMENTS [FOLDER]');
  process.exit(1);
}
setTimeout(() => {
  console.error(`not done within ${LIMIT / 1000} s`);
  process.exit(1);
}, LIMIT).unref();

/** An experiment that runs until it is stopped, however slow the machine is. */
const LONG = `
[scenario]
version = 1
name = "long-outage"
hypothesis = "While pings fail, customers can order."
owner = "tests"
environment = ["development"]
observe_before = "1s"
max_duration = "30m"
[[steady_state]]
probe = "success_rate"
operation = "order"
min = "1%"
min_samples = 1
# Another alert can still fire from the experiment before.
[[abort_when]]
probe = "alert"
alert = "orders_failing"
severity = "critical"
[[step]]
id = "outage"
fault = { type = "error", on = "ping" }
rate = 1.0
for = "20m"
[recovery]
steady_state_within = "30s"
`;

async function picture(page, name) {
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

async function look(base, page) {
  const watched = await watch(page);
  page.setDefaultTimeout(WAIT);
  const dialog = page.locator('dialog[open]');
  const banner = page.locator('#chaos-banner');
  const result = page.locator('#stopped');
  const stop = page.getByRole('button', { name: 'Stop everything' });
  const armed = page.locator('.faults tbody tr');
  const shows = (locator, text) => locator.filter({ hasText: text }).first().waitFor();
  const api = async (path) => (await fetch(`${base}/api/resilience${path}`)).json();
  const arm = (ttl) => sendToAdmin(base, 'POST', '/chaos/faults', JSON.stringify({ type: 'latency', on: 'ping', add: '5ms', ttl, by: 'ada' }));
  const startScenario = async (name) => {
    await page.getByRole('button', { name: `Start ${name}` }).click();
    await dialog.getByRole('button', { name: 'Start the experiment' }).click();
    await dialog.waitFor({ state: 'detached' });
  };

  await step('the short address leads to the page, and nothing is armed', async () => {
    await page.goto(`${base}/dashboard/chaos`);
    await page.getByRole('heading', { level: 1, name: 'Chaos' }).waitFor();
    await shows(page.locator('#page'), 'No fault is armed.');
    await shows(page.locator('#fresh'), 'Environment: development.');
    await page.locator('.scenarios tbody tr').nth(5).waitFor();
    assert.ok(await banner.isHidden());
  });

  await step('a fault is shown with its author and a countdown, also on the main page', async () => {
    await arm('10m');
    await shows(armed, 'latency 5ms');
    await shows(armed, 'admin API (ada)');
    const seconds = async () => {
      const [minutes, rest] = (await armed.locator('strong').first().textContent()).split(':').map(Number);
      return minutes * 60 + rest;
    };
    const before = await seconds();
    assert.ok(before > 570 && before <= 600, `${before}`);
    await page.waitForFunction((then) => document.querySelector('.faults strong').textContent !== then, await armed.locator('strong').first().textContent());
    assert.ok(await seconds() < before);
    await page.evaluate(() => { location.hash = '#/'; });
    await shows(banner, '1 fault is armed (latency 5ms on ping)');
    await picture(page, 'banner-light');
    await accessible(page, 'the banner');
    await page.setViewportSize({ width: 360, height: 740 });
    await fits(page, 'the banner, 360 pixels');
    await picture(page, 'banner-narrow');
    await page.setViewportSize({ width: 1280, height: 720 });
    await banner.click();
    assert.ok(await banner.isHidden());
  });

  await step('a wrong token is reported, and nothing is stopped', async () => {
    watched.expect(/401.*\/(alerts|chaos|experiments)\)/);
    await stop.click();
    await dialog.getByLabel('Admin token').fill('a-wrong-token-0123456789');
    await dialog.getByRole('button', { name: 'Unlock' }).click();
    await shows(dialog.getByRole('alert'), 'wrong admin token');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await shows(result, /NOT stopped: no valid admin token was entered\. The armed faults end by themselves within 9:/);
    assert.equal((await api('/chaos')).armed, true);
    await picture(page, 'not-stopped-light');
  });

  await step('a token that has become wrong is reported by the stop button itself', async () => {
    watched.expect(/401.*\/chaos\/stop\)/);
    const refuse = (route) => route.fulfill({ status: 401, contentType: 'application/problem+json', body: '{"detail":"wrong admin token"}' });
    await stop.click();
    await dialog.getByLabel('Admin token').fill(TOKEN);
    await page.route('**/chaos/stop', refuse);
    await dialog.getByRole('button', { name: 'Unlock' }).click();
    await shows(result, 'NOT stopped: wrong admin token.');
    await shows(dialog.getByRole('alert'), 'wrong admin token');
    await page.unroute('**/chaos/stop', refuse);
  });

  await step('the right token stops', async () => {
    await dialog.getByLabel('Admin token').fill(TOKEN);
    await dialog.getByRole('button', { name: 'Unlock' }).click();
    await shows(result, 'Stopped: 1 fault ended.');
    await shows(page.locator('#page'), 'No fault is armed.');
    assert.equal((await api('/chaos')).armed, false);
    await stop.click();
    await shows(result, 'Stopped: nothing was armed.');
  });

  await step('a scenario shows its hypothesis and its plan before it starts', async () => {
    await page.getByRole('button', { name: 'Start store-lost' }).waitFor();
    await page.getByRole('button', { name: 'Start dependency-down' }).click();
    await shows(dialog, 'While the payment gateway is down, customers can still order');
    await shows(dialog.locator('pre'), 'Timeline:');
    await picture(page, 'start-light');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await dialog.waitFor({ state: 'detached' });
    assert.equal((await api('/chaos/experiments')).running, null);
  });

  await step('a scenario starts, and its phase, faults and journal are shown', async () => {
    await startScenario('dependency-down');
    await shows(page.locator('#phase'), 'observing the steady state before the first fault');
    assert.ok(await page.getByRole('button', { name: 'Start overload' }).isDisabled());
    await shows(page.locator('#phase'), 'injecting faults (outage)');
    await shows(armed, 'experiment dependency-down step outage');
    // The lease is shorter than a second, but the step is planned to run for longer.
    await shows(armed, /0:1\d as planned/);
    // The result of the last stop is about something else.
    assert.equal(await result.textContent(), '');
    await shows(page.locator('#journal li'), 'circuit breaker payment: open');
    await picture(page, 'running-light');
    await page.emulateMedia({ colorScheme: 'dark' });
    await picture(page, 'running-dark');
    await page.emulateMedia({ colorScheme: 'light' });
    await accessible(page, 'a running experiment');
    for (const width of [840, 360]) {
      await page.setViewportSize({ width, height: 740 });
      await fits(page, `chaos, ${width} pixels`);
    }
    await picture(page, 'running-narrow');
    await page.setViewportSize({ width: 1280, height: 720 });
  });

  await step('the stop button works while every stream of the page is broken', async () => {
    await sendToAdmin(base, 'POST', '/chaos/stop');
    await shows(page.locator('#page'), 'No experiment runs.');
    await sendToAdmin(base, 'POST', '/chaos/experiments', JSON.stringify({ toml: LONG }));
    await shows(page.locator('#phase'), 'injecting faults (outage)');
    await shows(armed, 'experiment long-outage step outage');
    watched.expect(/ERR_FAILED|ERR_CONNECTION_RESET/);
    await page.route(/\/api\/resilience\/(stream|events|stats|chaos|chaos\/experiments.*)$/, (route) => route.abort());
    // Ends the connections that are open.
    await page.evaluate(() => dispatchEvent(new Event('online')));
    await shows(page.locator('#connection'), 'unreachable');
    await shows(page.locator('#fresh'), 'Not up to date');
    const lasts = await armed.locator('strong').first().textContent();
    assert.match(lasts, /^\d+:\d\d$/);
    await picture(page, 'disconnected-light');
    await stop.click();
    await shows(result, /Stopped: [1-9] faults? ended, experiment long-outage aborted\./);
    assert.equal((await api('/chaos')).armed, false);
    await page.unrouteAll();
    await shows(page.locator('#connection'), /^live$/);
    await shows(page.locator('#page'), 'No experiment runs.');
  });

  await step('the result is listed, with a link to the report', async () => {
    const row = page.getByRole('row').filter({ hasText: 'aborted' }).first();
    await shows(row, 'long-outage');
    const [download] = await Promise.all([page.waitForEvent('download'), row.getByRole('link', { name: /Report/ }).click()]);
    assert.match(download.suggestedFilename(), /^long-outage-\d+\.html$/);
    await picture(page, 'results-light');
    await accessible(page, 'results');
    await page.setViewportSize({ width: 360, height: 740 });
    await fits(page, 'results, 360 pixels');
    await picture(page, 'results-narrow');
    await page.setViewportSize({ width: 1280, height: 720 });
  });

  await step('a report opens without a token, with its own style', async () => {
    const report = await page.context().newPage();
    const violations = await watch(report);
    const [last] = (await api('/chaos/experiments')).finished;
    await report.goto(`${base}/api/resilience/chaos/experiments/${last.id}/report`);
    await report.getByRole('heading', { level: 1, name: /long-outage/ }).waitFor();
    const font = await report.evaluate(() => getComputedStyle(document.body).fontFamily);
    assert.match(font, /sans-serif/);
    assert.equal(violations.meant.size, 0);
    await report.close();
  });

  await step('the stop button tries again until the server answers', async () => {
    await arm('5m');
    await shows(armed, 'latency 5ms');
    let requests = 0;
    await page.route('**/chaos/stop', (route) => {
      requests += 1;
      return requests < 3 ? route.abort('connectionreset') : route.continue();
    });
    await stop.click();
    await shows(result, 'NOT stopped yet: the server is unreachable. Attempt 2 of 5');
    await shows(result, 'Stopped: 1 fault ended.');
    assert.equal(requests, 3);
    await page.unrouteAll();
  });

  await step('a server that hangs is reported, and the button stops once it answers', async () => {
    await arm('5m');
    await shows(armed, 'latency 5ms');
    freeze();
    await stop.click();
    await shows(result, 'NOT stopped yet: the server does not answer. Attempt 2 of 5');
    thaw();
    await shows(result, /Stopped: /);
    assert.equal((await api('/chaos')).armed, false);
  });

  await step('an attended experiment ends when its page is closed', async () => {
    await startScenario('errors-10-percent');
    await shows(page.locator('#phase'), 'observing the steady state');
    await page.close();
    for (let tries = 0; (await api('/chaos')).experiment; tries += 1) {
      assert.ok(tries < 100, 'it still runs');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const [last] = (await api('/chaos/experiments')).finished;
    assert.match(last.reasons.join(), /no client has followed its journal for 2 s/);
  });

  await step('there are no page errors, console errors or policy violations', async () => {
    assert.deepEqual([...wrong], []);
    for (const [pattern, times] of watched.meant) assert.ok(times > 0, `the expected error ${pattern} did not occur`);
  });
}

try {
  const base = await start(program);
  const browser = await launch();
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 720 } });
    await look(base, await context.newPage());
  } finally {
    await browser.close();
  }
  process.exit(0);
} catch (error) {
  console.error('failed -', error);
  // These are often the cause.
  wrong.forEach((what) => console.error(what));
  process.exit(1);
}
