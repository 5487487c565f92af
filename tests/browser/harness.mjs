// Shared parts of the tests in the browser: steps, the browser, and the errors of a page.

import { chromium } from 'playwright-core';

const began = Date.now();

/** Runs a step and prints a line if it passes. */
export async function step(name, does) {
  try {
    await does();
  } catch (error) {
    throw new Error(name, { cause: error });
  }
  console.log(`ok - ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
}

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** Errors of the page, without duplicates. */
export const wrong = new Set();

/** Collects errors of the page. Expected errors are registered with `expect` and counted. */
export async function watch(page) {
  const meant = new Map();
  page.on('console', (message) => {
    if (message.type() !== 'error') return;
    // Chromium logs every failed request.
    const text = `${message.text()} (${message.location().url})`;
    const known = [...meant.keys()].find((pattern) => pattern.test(text));
    if (known) meant.set(known, meant.get(known) + 1);
    else wrong.add(`console: ${text}`);
  });
  page.on('pageerror', (error) => wrong.add(`page: ${error.message}`));
  await page.exposeFunction('noteViolation', (text) => wrong.add(`policy: ${text}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => window.noteViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
  });
  return { meant, expect: (pattern) => meant.set(pattern, 0) };
}
