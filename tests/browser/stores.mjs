// Tests the cards of a store and of the components that use it: `node stores.mjs PATH_OF_FLEET`. Needs `redis-server`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accessible, fits } from './audit.mjs';
import { launch, step, watch, wrong } from './harness.mjs';

const LIMIT = 90_000; // ms, for the whole run
const WAIT = 20_000; // ms, for one element to appear
const TOKEN = 'a-token-for-the-tests';

const program = process.argv[2];
if (!program) {
  console.error('usage: node stores.mjs PATH_OF_FLEET');
  process.exit(1);
}
setTimeout(() => {
  console.error(`not done within ${LIMIT / 1000} s`);
  process.exit(1);
}, LIMIT).unref();

const folder = mkdtempSync(join(tmpdir(), 'resilient-browser-'));
const children = [];
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts a program and waits until something listens on its port. */
async function start(command, args, port, env = {}) {
  const child = spawn(command, args, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...env } });
  children.push(child);
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const [event] = await Promise.race([once(socket, 'connect').then(() => ['connect']), once(socket, 'error').then(() => ['error'])]).catch(() => ['error']);
    socket.destroy();
    if (event === 'connect') return child;
    assert.equal(child.exitCode, null, `${command} ended`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/** Starts an instance of the fleet. Nothing listens at its gateway. */
async function instance(redisPort, number) {
  const [port, unused] = [await freePort(), await freePort()];
  const args = ['--instance', number, '--port', port, '--gateway', `127.0.0.1:${unused}`, '--token', TOKEN];
  const child = await start(program, args, port, { RESILIENT__STORE__SHARED__URL: `redis://127.0.0.1:${redisPort}` });
  return { base: `http://127.0.0.1:${port}`, kill: () => child.kill('SIGKILL') };
}

async function look(base, redis, page) {
  await watch(page);
  page.setDefaultTimeout(WAIT);
  const card = (kind, name) => page.locator(`.card[data-kind=${kind}][data-name="${name}"]`);
  const shows = (locator, text) => locator.filter({ hasText: text }).first().waitFor();
  const order = async (id) => (await fetch(`${base}/orders/${id}`, { method: 'POST', signal: AbortSignal.timeout(WAIT) })).status;

  await step('a store and the components that use it are shown', async () => {
    await fetch(`${base}/quotes`);
    await page.goto(`${base}/dashboard`);
    await shows(card('store', 'shared'), '✓ available');
    await shows(card('store', 'shared'), '1 instance');
    await shows(card('rate_limit', 'quotes'), 'exact, shared by 1 instance');
  });

  await step('a circuit shows how many instances open it in all', async () => {
    await fetch(`${base}/stock`); // nothing listens at the gateway, so the call fails
    await shows(card('circuit_breaker', 'stock'), 'open in 0 of 1 instance, 2 open it in all');
  });

  await step('a circuit that other instances have opened is shown as opened by them', async () => {
    const others = await Promise.all([2, 3].map((number) => instance(redis.port, number)));
    await shows(card('store', 'shared'), '3 instances');
    for (const other of others) {
      for (let call = 0; call < 3; call += 1) await fetch(`${other.base}/stock`);
    }
    await shows(card('circuit_breaker', 'stock'), 'opened by other instances');
    for (const other of others) other.kill();
  });

  await step('a store that hangs is shown as degraded, and so is all that needs it', async () => {
    redis.kill('SIGSTOP');
    await shows(card('store', 'shared'), '✕ degraded for');
    await fetch(`${base}/quotes`);
    await shows(card('rate_limit', 'quotes'), 'store shared failed: decides without it');
    assert.equal(await order('lost'), 503);
    await shows(card('idempotency', 'orders'), '✕ store failed');
    await accessible(page, 'a store that hangs');
    await fits(page, 'a store that hangs');
    if (process.env.PICTURES) await page.screenshot({ path: join(process.env.PICTURES, 'stores.png'), fullPage: true });
  });

  await step('a store that is back is shown as available', async () => {
    redis.kill('SIGCONT');
    await shows(card('store', 'shared'), '✓ available');
    await fetch(`${base}/quotes`);
    await shows(card('rate_limit', 'quotes'), 'exact, shared by');
  });
}

try {
  const port = await freePort();
  const server = await start('redis-server', ['--port', port, '--save', '', '--bind', '127.0.0.1'], port);
  const { base } = await instance(port, 1);
  const browser = await launch();
  try {
    await look(base, { port, kill: (signal) => server.kill(signal) }, await browser.newPage());
  } finally {
    await browser.close();
  }
  assert.deepEqual([...wrong], [], 'errors of the page');
  process.exit(0);
} catch (error) {
  console.error('failed -', error);
  // These are often the cause.
  wrong.forEach((what) => console.error(what));
  process.exit(1);
}
