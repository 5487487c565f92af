// The payments program, as the tests run it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export const TOKEN = 'a-token-for-the-tests';

let running = null;
// However this ends, the program does not outlive it.
process.on('exit', () => running?.kill('SIGKILL'));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** Starts it; where it listens. On ports of the system's choice, or on that of an address where it was before. */
export async function start(program, before = 'http://127.0.0.1:0') {
  const port = before.split(':').pop();
  running = spawn(program, ['--port', port, '--gateway-port', '0', '--load', '20', '--token', TOKEN], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: running.stdout })) {
    const [word, rest] = line.split(' ');
    if (word !== 'service') continue;
    // Read on, or the program waits some day for room to print.
    running.stdout.resume();
    return rest;
  }
  throw new Error('the program ended before it listened');
}

/** Ends it without a word to anybody. */
export async function kill() {
  const gone = once(running, 'exit');
  running.kill('SIGKILL');
  await gone;
}

/** Stops it where it stands: its connections stay, and nothing comes. Later it goes on. */
export const freeze = () => running.kill('SIGSTOP');
export const thaw = () => running.kill('SIGCONT');

async function send(address, method, body) {
  const response = await fetch(address, { method, body, headers: { 'content-type': 'application/json', authorization: `Bearer ${TOKEN}` } });
  assert.ok(response.ok, `${address} answered ${response.status}`);
}

/** What goes wrong at the gateway from now on. */
export const faults = (base, method, body) => send(`${base}/gateway/faults`, method, body);

/** Changes something over the admin API. */
export const steer = (base, method, path, body) => send(`${base}/api/resilience${path}`, method, body);

let orders = 0;

/** Sends an order, and the same one again: the second is answered from the record of the first. */
export async function orderTwice(base) {
  orders += 1;
  const body = JSON.stringify({ order_id: `twice-${orders}`, cents: 995 });
  for (let time = 0; time < 2; time += 1) await send(`${base}/api/resilience/protected-endpoint`, 'POST', body);
}
