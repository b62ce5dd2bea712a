/** The first visit to a new hub, in a real browser. */
import type { Locator } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { NAME, PASSWORD, logIn } from './support/login.ts';
import { consoleErrors, page, system, useDashboard } from './support/dashboard.ts';

const STOP_MS = 10_000;

useDashboard({ logIn: false });

const lamp = () => page.locator('[data-widget=lamp][data-module=led]');
const temperature = () =>
  page
    .locator('[data-widget=sensor][data-module=temperature]')
    .filter({ has: page.locator('[data-type=temperature]') });

const attribute = (locator: Locator, name: string) => async () => locator.getAttribute(name);
const live = () => page.locator('[data-live=live]').waitFor();

/** The pixels of a scaled-down copy. */
const pixels = () =>
  page.locator('[data-widget=camera] canvas').evaluate((element) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 48 });
    const context = canvas.getContext('2d');
    if (!context) return '';
    context.drawImage(element as HTMLCanvasElement, 0, 0, 64, 48);
    return context.getImageData(0, 0, 64, 48).data.join();
  });

/** The number of pixels with that colour and at least that opacity (0 to 255). */
const inked = (chart: Locator, colour: string, opaque = 200) =>
  chart.locator('canvas').evaluate(
    (element, [name, least]) => {
      const canvas = element as HTMLCanvasElement;
      const hex = getComputedStyle(canvas).getPropertyValue(name).trim();
      const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
      const data = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
      let count = 0;
      for (let at = 0; at < data.length; at += 4) {
        const near = wanted.every((value, channel) => Math.abs(value - (data[at + channel] ?? 0)) < 24);
        if (near && (data[at + 3] ?? 0) > least) count += 1;
      }
      return count;
    },
    [colour, opaque] as const
  );

describe('the first visitor of a new hub', () => {
  test('is asked for the one-time code before anything else', async () => {
    await page.goto(system.url);

    await page.getByRole('heading', { name: 'Set up this hub' }).waitFor();
    expect(new URL(page.url()).pathname).toBe('/setup');
  });

  test('is rejected with a wrong code, and sees why', async () => {
    await page.getByLabel('One-time code').fill('not-the-code');
    await page.getByLabel('Name').fill(NAME);
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Create account' }).click();

    await page.getByRole('alert').getByText('This code is not valid. Use the newest code in the hub').waitFor();
    expect(new URL(page.url()).pathname).toBe('/setup');
    // The browser itself reports the rejected request; that is not an error of the page.
    consoleErrors.length = 0;
  });

  test('becomes the first admin with the right one', async () => {
    await page.getByLabel('One-time code').fill(system.firstAdminCode);
    await page.getByRole('button', { name: 'Create account' }).click();

    await live();
    expect(new URL(page.url()).pathname).toBe('/');
  });
});

describe('the dashboard', () => {
  test('shows the temperature, and updates it', async () => {
    const value = temperature().locator('[data-type=temperature]');

    await expect.poll(attribute(value, 'data-value')).toMatch(/^-?\d/);
    const first = await value.getAttribute('data-value');

    await expect.poll(attribute(value, 'data-value')).not.toBe(first);
    expect(await value.textContent()).toMatch(/°C$/);
  });

  test('draws the temperature as a line', async () => {
    const chart = temperature().getByRole('img');

    await expect.poll(async () => Number(await chart.getAttribute('data-points'))).toBeGreaterThanOrEqual(2);
    await expect.poll(() => inked(chart, '--coral')).toBeGreaterThan(0);
    expect(await chart.getAttribute('aria-label')).toMatch(/^Temperature, last hour: lowest .*°C, highest .*°C$/);
  });

  test('draws a chart only when it is near the screen', async () => {
    await page.setViewportSize({ width: 390, height: 500 });
    const last = page.locator('[data-widget=sensor]').last();
    const canvases = () => last.locator('canvas').count();

    await expect.poll(canvases).toBe(0);
    await last.scrollIntoViewIfNeeded();
    await expect.poll(canvases).toBe(1);

    await page.setViewportSize({ width: 1280, height: 900 });
  });

  test('shows the last day, and returns to the live hour', async () => {
    const chart = temperature().getByRole('img');

    await temperature().getByRole('button', { name: 'Last day' }).click();

    await expect.poll(attribute(chart, 'aria-label')).toMatch(/^Temperature, last day: lowest .*°C, highest .*°C$/);
    await temperature().getByRole('button', { name: 'Last hour' }).click();
    await expect.poll(attribute(chart, 'aria-label')).toMatch(/^Temperature, last hour: lowest /);
  });

  test('shows live frames of a camera, with their size and rate', async () => {
    const camera = page.locator('[data-widget=camera]');
    await camera.locator('canvas').waitFor();

    await expect.poll(pixels).toMatch(/[1-9]/);
    const first = await pixels();

    await expect.poll(pixels).not.toBe(first);
    await camera.getByText(/\d+ × \d+/).waitFor();
    await camera.getByText(/[\d.]+ fps/).waitFor();
  });

  test('shows the readings of the machine itself', async () => {
    await expect.poll(() => page.locator('[data-widget=sensor][data-module=system]').count()).toBeGreaterThan(1);
  });
});

describe('the lamp', () => {
  test('is switched on, confirms it, and the module reports it', async () => {
    const control = lamp().getByRole('switch');
    if ((await control.getAttribute('aria-checked')) === 'true') await control.click();
    await expect.poll(attribute(control, 'aria-checked')).toBe('false');

    await control.click();

    await lamp().locator('[data-state=succeeded]').waitFor();
    await lamp().getByRole('status').getByText('Done').waitFor();
    await expect.poll(attribute(control, 'aria-checked')).toBe('true');
  });

  test('is dimmed, and the module reports the brightness', async () => {
    await lamp().getByRole('slider').fill('70');

    await lamp().getByText('at 70 %').waitFor();
    await lamp().locator('[data-state=succeeded]').waitFor();
  });

  test('works with the keyboard', async () => {
    const control = lamp().getByRole('switch');

    await control.focus();
    await page.keyboard.press('Space');

    await expect.poll(attribute(control, 'aria-checked')).toBe('false');
  });
});

describe('the modules page', () => {
  test('shows every module online', async () => {
    await page.getByRole('link', { name: 'Modules' }).click();
    await page.getByRole('heading', { name: 'Modules' }).waitFor();

    for (const id of ['camera', 'led', 'system', 'temperature']) {
      const card = page.locator(`article[data-module=${id}]`);
      await expect.poll(attribute(card, 'data-health')).toBe('online');
    }
  });

  test('shows the commands and capabilities of a module', async () => {
    const card = page.locator('article[data-module=led]');

    await card.getByText('Commands and manifest').click();

    await card.locator('[data-state=succeeded]').first().waitFor();
    await card.getByText('"brightness"').first().waitFor();
  });

  test('is still there after a reload', async () => {
    await page.reload();

    await live();
    await page.locator('article[data-module=led]').waitFor();
    expect(new URL(page.url()).pathname).toBe('/modules');
  });
});

// The mock accepts no readings.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('a module that lost readings', () => {
  const post = (path: string, body: unknown) =>
    page.evaluate(
      async ([to, json]) => {
        const response = await fetch(to, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: json
        });
        return response.status;
      },
      [path, JSON.stringify(body)] as const
    );

  test('has the number and type of lost readings on the modules page', async () => {
    const now = Date.now() / 1000;
    const reading = { module_id: 'counter', unit: 'count', epoch: 7 };
    const readings = [
      { ...reading, value: 1, seq: 1, timestamp: now - 60 },
      { ...reading, value: 2, seq: 20, timestamp: now }
    ];
    const series = [{ type: 'visitors', lost: 12, since: now - 45, until: now - 20 }];
    expect(await post('/api/sensors/visitors', readings)).toBe(200);
    expect(
      await post('/api/modules/counter/gaps', { epoch: 7, first_seq: 5, last_seq: 16, reason: 'full', series })
    ).toBe(204);

    const card = page.locator('article[data-module=counter]');
    await card.getByText(/^12 lost, 6 pending since /).click();

    await card.getByText('12 readings of visitors: the module ran out of space for unsent readings').waitFor();
  });

  test('has the gap marked in its chart', async () => {
    await page.getByRole('link', { name: 'Dashboard' }).click();

    const tile = page.locator('[data-widget=sensor][data-module=counter]');
    await expect.poll(attribute(tile.getByRole('img'), 'data-gaps')).toBe('1');
    await tile.getByText('12 readings lost: the module ran out of space for unsent readings').waitFor();
    await expect.poll(() => inked(tile.getByRole('img'), '--bad', 60)).toBeGreaterThan(0);
  });

  test('has its readings as a file', async () => {
    const link = page.locator('[data-widget=sensor][data-module=counter]').getByText('CSV', { exact: true });
    const file = await page.evaluate(async (href) => (await fetch(href ?? '')).text(), await link.getAttribute('href'));

    expect(file.trim().split('\n')).toHaveLength(3);
    expect(file).toContain('visitors');
  });
});

describe('the storage page', () => {
  test('shows disk lifetime and free space', async () => {
    await page.locator('nav').getByRole('link', { name: 'Storage' }).click();

    for (const title of ['Disk lifetime', 'Disk space', 'Backup', 'Retention']) {
      await page.getByRole('heading', { name: title, exact: true }).waitFor();
    }
    await page.getByRole('meter', { name: 'Endurance used' }).waitFor();
    expect(await page.locator('[data-problems]').count()).toBe(0);
  });

  test('lets an admin make a verified backup', async () => {
    await page.getByRole('button', { name: 'Back up now' }).click();

    await page.getByText('verified', { exact: true }).waitFor();
  });
});

describe('a user who logs out', () => {
  test('sees the login page on every path', async () => {
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByRole('heading', { name: 'Log in' }).waitFor();

    await page.goto(`${system.url}/modules`);

    await page.getByRole('heading', { name: 'Log in' }).waitFor();
  });

  test('logs in again with name and password', async () => {
    await logIn(page);

    await live();
    await temperature().waitFor();
  });

  test('sees no page wider than a small phone', async () => {
    await page.setViewportSize({ width: 360, height: 740 });

    for (const name of ['Cameras', 'Modules', 'Storage', 'Dashboard']) {
      await page.locator('nav').getByRole('link', { name }).click();
      await page
        .locator(name === 'Storage' ? '[role=meter]' : name === 'Cameras' ? '[data-widget=camera]' : 'article')
        .first()
        .waitFor();
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    }
  });

  test('has no errors in the browser’s console', () => {
    expect(consoleErrors).toEqual([]);
  });
});

test('the system shuts down gracefully', { timeout: STOP_MS }, async () => {
  await page.goto('about:blank');

  const code = await system.stop();

  // The mock ends as Vite does; only the demo has a graceful shutdown.
  if (process.env.IOTPI_DEMO !== 'mock') expect(code).toBe(0);
});
