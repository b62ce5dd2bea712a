/** Live and recorded frames of cameras, in a real browser. */
import type { Locator } from 'playwright-core';
import { afterAll, describe, expect, test } from 'vitest';
import { consoleErrors, page, system, useDashboard } from './support/dashboard.ts';

const CAMERA = 'camera';
const MOCK = process.env.IOTPI_DEMO === 'mock';

/** The requested paths, and the number of binary WebSocket messages. */
const requestedPaths: string[] = [];
let frameCount = 0;
let sockets = 0;

useDashboard({
  prepare: () => {
    page.on('request', (request) => requestedPaths.push(new URL(request.url()).pathname));
    page.on('websocket', (socket) => {
      if (!socket.url().endsWith('/api/live')) return;
      sockets += 1;
      socket.on('framereceived', ({ payload }) => {
        if (typeof payload !== 'string') frameCount += 1;
      });
    });
  }
});

const attribute = (locator: Locator, name: string) => async () => locator.getAttribute(name);
const tile = () => page.locator(`[data-widget=camera][data-module=${CAMERA}]`);
const live = () => page.getByRole('img', { name: `Live view of ${CAMERA}` });
const recorded = () => page.getByRole('img', { name: `Recorded frame of ${CAMERA}` });
const timeline = () => page.getByRole('slider', { name: 'Position in the recording' });
const latency = () => page.locator('[data-badge=latency]').first();

/** The pixels of a scaled-down copy. */
const pixels = (canvas: Locator) => () =>
  canvas.evaluate((element) => {
    const small = Object.assign(document.createElement('canvas'), { width: 64, height: 48 });
    const context = small.getContext('2d');
    if (!context) return '';
    context.drawImage(element as HTMLCanvasElement, 0, 0, 64, 48);
    return context.getImageData(0, 0, 64, 48).data.join();
  });

async function expectMotion(canvas: Locator): Promise<void> {
  await expect.poll(pixels(canvas)).toMatch(/[1-9]/);
  const first = await pixels(canvas)();
  await expect.poll(pixels(canvas)).not.toBe(first);
}

describe('the camera wall', () => {
  test('shows the camera’s frames, which change', async () => {
    await page.locator('nav').getByRole('link', { name: 'Cameras' }).click();

    await tile().waitFor();
    await expectMotion(live());
  });

  test('receives frames over the one live connection', () => {
    expect(sockets).toBe(1);
    expect(frameCount).toBeGreaterThan(1);
    expect(requestedPaths.filter((path) => path.startsWith('/api/camera/'))).toEqual([]);
  });

  test('shows the delay and the frame rate', async () => {
    await expect.poll(attribute(latency(), 'data-p50')).toMatch(/^\d+$/);
    expect(await latency().textContent()).toMatch(/^\s*Delay [\d.]+ m?s\s*$/);
    expect(await latency().getAttribute('title')).toContain('Delay to hub');
    await page
      .locator('[data-badge=rate]')
      .getByText(/[\d.]+ fps/)
      .waitFor();
  });

  test('requests no frames while the wall is not on the page', async () => {
    await page.locator('nav').getByRole('link', { name: 'Storage' }).click();
    await page.getByRole('heading', { name: 'Disk lifetime', exact: true }).waitFor();

    // Frames in flight still arrive; then a whole second has none.
    let before = -1;
    await expect
      .poll(
        () => {
          const same = frameCount === before;
          before = frameCount;
          return same;
        },
        { interval: 1000 }
      )
      .toBe(true);
  });
});

describe('the full view of a camera', () => {
  test('opens from the wall, with the keyboard', async () => {
    await page.locator('nav').getByRole('link', { name: 'Cameras' }).click();

    await tile().getByRole('link').focus();
    await page.keyboard.press('Enter');

    await page.locator(`[data-camera=${CAMERA}]`).waitFor();
    expect(new URL(page.url()).search).toBe(`?id=${CAMERA}`);
    await expectMotion(live());
  });

  test('lists the viewers', async () => {
    await page.getByRole('row').filter({ hasText: 'Dashboard' }).first().waitFor();
  });

  test('links to the newest frame as a file', async () => {
    const link = page.getByRole('link', { name: 'Snapshot' });
    const type = await page.evaluate(
      async (href) => (await fetch(href ?? '')).headers.get('content-type'),
      await link.getAttribute('href')
    );

    expect(type).toBe('image/jpeg');
  });

  test('is still there after a reload', async () => {
    await page.reload();

    await expectMotion(live());
  });
});

describe('recording', () => {
  test('starts with "Record now", and grows', async () => {
    await page.getByRole('button', { name: 'Record now' }).click();

    await expect.poll(async () => Number(await timeline().getAttribute('data-bands'))).toBeGreaterThanOrEqual(1);
  });

  test('shows its last frame at the end of the timeline', async () => {
    await timeline().focus();
    await page.keyboard.press('End');

    await expect.poll(attribute(recorded(), 'data-shown')).toMatch(/^\d+/);
    await expect.poll(pixels(recorded())).toMatch(/[1-9]/);
  });

  test('is stepped through frame by frame, back and forth', async () => {
    const shown = async () => Number(await recorded().getAttribute('data-shown'));
    const last = await shown();

    await page.getByRole('button', { name: 'Previous frame' }).click();
    await expect.poll(shown).toBeLessThan(last);
    const before = await shown();
    await page.getByRole('button', { name: 'Next frame' }).click();

    await expect.poll(shown).toBeGreaterThan(before);
  });

  test('plays', async () => {
    await timeline().focus();
    await page.keyboard.press('Home');
    await expect.poll(attribute(recorded(), 'data-shown')).toMatch(/^\d+/);

    await page.keyboard.press('Space');

    await expectMotion(recorded());
    await page.getByRole('button', { name: 'Live', exact: true }).click();
    await expectMotion(live());
  });

  test.skipIf(MOCK)('is exported as a video file', async () => {
    const link = page.getByRole('link', { name: 'Video (AVI)' });
    const begin = await page.evaluate(
      async (href) => (await (await fetch(href ?? '')).text()).slice(0, 4),
      await link.getAttribute('href')
    );

    expect(begin).toBe('RIFF');
  });

  test('is configured by an operator', async () => {
    await page.getByRole('button', { name: 'Change' }).click();
    await page.getByLabel('Recording mode').selectOption({ label: 'Time lapse' });
    await page.getByLabel('Interval (s)').fill('2');
    await page.getByRole('button', { name: 'Save' }).click();

    await page.locator('[data-mode=time_lapse]').waitFor();
    await page.getByText('One frame every 2 s.').waitFor();
  });
});

// The mock has no modules that could be frozen.
describe.skipIf(MOCK)('a camera that sends nothing', () => {
  let resume = () => {};
  afterAll(() => resume());

  test('is shown as lost, with the hub’s own frame', async () => {
    resume = await system.freezeCamera();

    await page.locator('[data-badge=lost]').getByText('No signal').waitFor();
    await expect.poll(pixels(live())).toMatch(/[1-9]/);
    expect(await page.locator('[data-badge=latency]').count()).toBe(0);
  });

  test('recovers by itself', async () => {
    resume();
    resume = () => {};

    await page.locator('[data-badge=live]').waitFor();
    await expectMotion(live());
  });

  test('recovers after its module was killed, without a reload', async () => {
    await page.evaluate(() => Object.assign(window, { kept: true }));

    await system.killCamera();

    // New frames come from another process.
    await expectMotion(live());
    await page.locator('[data-badge=live]').waitFor();
    expect(await page.evaluate(() => 'kept' in window)).toBe(true);
  });
});

describe('when the hub restarts', () => {
  test('the page reconnects without a reload, and shows frames again', async () => {
    await page.evaluate(() => Object.assign(window, { kept: true }));
    expect(consoleErrors).toEqual([]);

    await system.restartHub();

    await page.locator('[data-live=lost]').waitFor();
    await page.locator('[data-live=live]').waitFor();
    await expectMotion(live());
    expect(await page.evaluate(() => 'kept' in window)).toBe(true);
    expect(requestedPaths.filter((path) => path === '/api/camera/stream')).toEqual([]);
    // The browser itself reports failed requests; they are not errors of the page.
    consoleErrors.length = 0;
  });

  test('no camera page is wider than a small phone', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    const width = () => page.evaluate(() => document.documentElement.scrollWidth);
    expect(await width()).toBeLessThanOrEqual(360);

    await page.getByRole('link', { name: 'All cameras' }).click();
    await tile().waitFor();

    expect(await width()).toBeLessThanOrEqual(360);
    expect(consoleErrors).toEqual([]);
  });
});
