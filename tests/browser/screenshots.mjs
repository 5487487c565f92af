// Takes the pictures of the documentation: `node screenshots.mjs PATH_OF_PAYMENTS FOLDER`.
//
// Starts the payments example under load, makes its gateway fail, and takes a picture once the circuit is open and the alert fires.

import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { faults, start } from './service.mjs';

const [program, folder] = process.argv.slice(2);
if (!program || !folder) {
  console.error('usage: node screenshots.mjs PATH_OF_PAYMENTS FOLDER');
  process.exit(1);
}

const LARGEST = 200 * 1024; // bytes of a picture
const HEALTHY = 20_000; // ms of normal operation before the outage, so that the charts show the change
const OUTAGE = 15_000; // ms of the outage before the picture
const WAIT = 60_000; // ms for the circuit to open and the alert to fire

await mkdir(folder, { recursive: true });
const base = await start(program);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'light', reducedMotion: 'reduce' });
  page.setDefaultTimeout(WAIT);
  await page.goto(`${base}/dashboard`);
  await page.locator('.card[data-kind=circuit_breaker][data-name=payment]').filter({ hasText: 'closed' }).waitFor();
  await page.waitForTimeout(HEALTHY);
  await faults(base, 'PUT', '{"error_rate": 1}');
  await page.locator('.card[data-kind=circuit_breaker][data-name=payment]').filter({ hasText: 'open' }).waitFor();
  await page.locator('#firing').filter({ hasText: /./ }).waitFor();
  await page.waitForTimeout(OUTAGE);
  await picture(page, 'dashboard-outage.png');
} finally {
  await browser.close();
}
process.exit(0);

async function picture(page, name) {
  const path = join(folder, name);
  await page.screenshot({ path });
  const { size } = await stat(path);
  if (size > LARGEST) throw new Error(`${name} has ${size} bytes, more than ${LARGEST}`);
  console.log(`${path}: ${Math.round(size / 1024)} KiB`);
}
