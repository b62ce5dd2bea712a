/** The dashboard of a hub that is nested below a path of another program, without a proxy. */
import { readFile } from 'node:fs/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBrowser } from './support/browser.ts';
import { createFirstAdmin, logIn } from './support/login.ts';
import { type NestedHub, startNested } from './support/nested.ts';

const FRAME = new URL('../mock/fixtures/frames/00.jpg', import.meta.url);

// The mock is no part of another program.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('a hub below /iotpi of another program', () => {
  let hub: NestedHub;
  let browser: Browser;
  let page: Page;
  const failed: string[] = [];
  const paths = new Set<string>();

  beforeAll(async () => {
    [hub, browser] = await Promise.all([startNested(), openBrowser()]);
    page = await browser.newPage();
    page.on('pageerror', (error) => failed.push(error.message));
    page.on('websocket', (socket) => paths.add(new URL(socket.url()).pathname));
    page.on('response', (response) => {
      paths.add(new URL(response.url()).pathname);
      if (response.status() >= 400) failed.push(`${response.status()} ${response.url()}`);
    });
  });

  afterAll(async () => {
    await browser?.close();
    await hub?.stop();
  });

  const pathname = () => new URL(page.url()).pathname;
  const live = () => page.locator('[data-live=live]').waitFor();

  /** Posts with the session of the page. */
  const post = async (path: string, type: string, data: string | Buffer) => {
    const headers = { 'content-type': type, origin: new URL(hub.url).origin };
    const response = await page.request.post(`${hub.url}${path}`, { headers, data });
    expect(response.status()).toBe(200);
  };

  test('has its first visitor come from a page of the program', async () => {
    await page.goto(new URL('/', hub.url).href);
    await page.getByRole('link', { name: 'Sensors and cameras' }).click();
    await page.getByRole('heading', { name: 'Set up this hub' }).waitFor();
    expect(pathname()).toBe('/iotpi/setup');

    paths.clear();
    await createFirstAdmin(page, hub);

    expect(pathname()).toBe('/iotpi/');
  });

  test('limits its cookie to its path', async () => {
    const cookies = await page.context().cookies(hub.url);

    expect(cookies.map(({ name, path }) => [name, path])).toEqual([['iotpi_session', '/iotpi']]);
  });

  test('shows readings and frames over its live connection', async () => {
    const reading = { module_id: 'attic', value: 21.5, unit: 'celsius' };
    await post('api/sensors/temperature', 'application/json', JSON.stringify(reading));
    await post('api/camera/frame?module_id=porch', 'image/jpeg', await readFile(FRAME));

    await page.locator('[data-widget=sensor] [data-value="21.5"]').waitFor();
    const canvas = page.locator('[data-widget=camera] canvas');
    await expect.poll(() => canvas.evaluate((element) => (element as HTMLCanvasElement).width)).toBe(640);
  });

  test.each(['Cameras', 'Modules', 'Storage'])('opens %s, and again after a reload', async (name) => {
    await page.locator('nav').getByRole('link', { name, exact: true }).click();
    await expect.poll(pathname).toBe(`/iotpi/${name.toLowerCase()}`);

    await page.reload();

    await live();
    await page.getByRole('heading', { level: 1, name, exact: true }).waitFor({ state: 'attached' });
  });

  test('offers files below its path', async () => {
    await page.locator('nav').getByRole('link', { name: 'Dashboard', exact: true }).click();
    const link = page.locator('[data-widget=sensor]').getByRole('link', { name: /as CSV$/ });

    const text = await link.evaluate(async (one) => (await fetch((one as HTMLAnchorElement).href)).text());

    expect(text).toContain('attic');
  });

  test('logs out and in again on its own pages', async () => {
    await page.getByRole('button', { name: 'Log out' }).click();
    await expect.poll(pathname).toBe('/iotpi/login');

    await logIn(page);

    await live();
    expect(pathname()).toBe('/iotpi/');
  });

  test('has its API reference below its path', async () => {
    await page.getByRole('contentinfo').getByRole('link', { name: 'API reference', exact: true }).click();
    await page.locator('.opblock').first().waitFor();

    expect(pathname()).toBe('/iotpi/docs/');
  });

  test('requested nothing outside of its path, and no request failed', () => {
    expect([...paths].filter((path) => !path.startsWith('/iotpi/'))).toEqual([]);
    expect(paths).toContain('/iotpi/api/live');
    expect(failed).toEqual([]);
  });
});
