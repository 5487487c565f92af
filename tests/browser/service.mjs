// Runs the payments program for the tests.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export const TOKEN = 'a-token-for-the-tests';

let running = null;
// Kills the program whenever this process exits.
process.on('exit', () => running?.kill('SIGKILL'));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** Starts the program and returns its address. Uses a free port, or the port of `before`. */
export async function start(program, before = 'http://127.0.0.1:0') {
  const port = before.split(':').pop();
  running = spawn(program, ['--port', port, '--gateway-port', '0', '--load', '20', '--token', TOKEN], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: running.stdout })) {
    const [word, rest] = line.split(' ');
    if (word !== 'service') continue;
    // Continue reading, because the program would block when the pipe is full.
    running.stdout.resume();
    return rest;
  }
  throw new Error('the program ended before it listened');
}

/** Kills the program. */
export async function kill() {
  const gone = once(running, 'exit');
  running.kill('SIGKILL');
  await gone;
}

/** Suspends the program: its connections stay open, and it sends nothing. `thaw` resumes it. */
export const freeze = () => running.kill('SIGSTOP');
export const thaw = () => running.kill('SIGCONT');

async function send(address, method, body) {
  const response = await fetch(address, { method, body, headers: { 'content-type': 'application/json', authorization: `Bearer ${TOKEN}` } });
  assert.ok(response.ok, `${address} returned status ${response.status}`);
}

/** Sets the faults of the gateway. */
export const faults = (base, method, body) => send(`${base}/gateway/faults`, method, body);

/** Sends a change to the admin API. */
export const sendToAdmin = (base, method, path, body) => send(`${base}/api/resilience${path}`, method, body);

let orders = 0;

/** Sends an order twice: the second response is replayed. */
export async function orderTwice(base) {
  orders += 1;
  const body = JSON.stringify({ order_id: `twice-${orders}`, cents: 995 });
  for (let time = 0; time < 2; time += 1) await send(`${base}/api/resilience/protected-endpoint`, 'POST', body);
}
