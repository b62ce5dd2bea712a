/** A hub or a camera that hangs: how soon the page shows it, and how it recovers. */
import type { Locator } from 'playwright-core';
import { afterAll, describe, expect, test } from 'vitest';
import { page, system, useDashboard } from './support/dashboard.ts';

const SECONDS = 1000;

let resume = () => {};

// The mock has no processes that could be frozen.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('the page', () => {
  useDashboard();
  afterAll(() => resume());

  /** Goes to a page and waits for it: elements of the previous page must not be taken for its own. */
  async function open(name: string): Promise<void> {
    await page.locator('nav').getByRole('link', { name, exact: true }).click();
    await page.getByRole('heading', { level: 1, name, exact: true }).waitFor({ state: 'attached' });
  }
  const badge = (name: string) => page.locator(`[data-badge=${name}]`);
  const connection = (state: string) => page.locator(`[data-live=${state}]`);
  const seconds = async (locator: Locator) => Number(/\d+/.exec((await locator.textContent()) ?? '')?.[0]);

  /** Freezes a process; the returned function returns the milliseconds since then. */
  async function freeze(start: () => Promise<() => void>): Promise<() => number> {
    resume = await start();
    const at = performance.now();
    return () => performance.now() - at;
  }

  function resumeProcess(): void {
    resume();
    resume = () => {};
  }

  describe('with a frozen camera', () => {
    test('marks its frame as old before the hub reports the camera as lost', async () => {
      await open('Cameras');
      await badge('live').waitFor();

      const since = await freeze(() => system.freezeCamera());

      await badge('stale').waitFor();
      expect(await seconds(badge('stale'))).toBeGreaterThanOrEqual(2);
      expect(await badge('live').count()).toBe(0);
      expect(await connection('live').count()).toBe(1);
      // Three of its intervals, and a margin for an overloaded machine.
      expect(since()).toBeLessThan(15 * SECONDS);
    });

    test('shows it as live again when it continues', async () => {
      resumeProcess();

      await badge('live').waitFor();
      expect(await badge('stale').count()).toBe(0);
    });
  });

  describe.each([
    { where: 'the dashboard', name: 'Dashboard' },
    { where: 'the camera wall', name: 'Cameras' }
  ])('on $where, with a frozen hub', ({ name }) => {
    test('marks the frame as old, and then the connection as unresponsive', async () => {
      await open(name);
      await badge('live').waitFor();

      const since = await freeze(() => system.freezeHub());

      // Both are awaited from now on: the connection is unresponsive for three seconds only, and just after the camera
      // was frozen the page still takes its usual interval between frames for longer than it is.
      const stale = badge('stale').first().waitFor().then(since);
      await connection('unresponsive').waitFor();
      const reported = since();
      expect(await connection('unresponsive').textContent()).toMatch(/No response for \d+ s/);
      const picture = await stale;
      expect(await badge('live').count()).toBe(0);
      // Two seconds; three until the probe and one more. The rest is a margin for an overloaded machine.
      expect(picture).toBeLessThan(15 * SECONDS);
      expect(reported).toBeGreaterThan(3 * SECONDS);
      expect(reported).toBeLessThan(15 * SECONDS);
    });

    test('reconnects, and shows nothing as live meanwhile', async () => {
      await connection('lost').waitFor();

      await page.locator('[data-condition=disconnected]').first().waitFor();
      expect(await connection('live').count()).toBe(0);
      expect(await badge('live').count()).toBe(0);
      expect(await seconds(badge('stale').first())).toBeGreaterThanOrEqual(6);
    });

    test('is live again when the hub continues, without a reload', async () => {
      await page.evaluate(() => Object.assign(window, { kept: true }));

      resumeProcess();

      await connection('live').waitFor();
      await badge('live').waitFor();
      expect(await page.evaluate(() => 'kept' in window)).toBe(true);
    });
  });

  describe('without a camera in view, with a frozen hub', () => {
    test('probes after eight seconds, and reports it', async () => {
      await open('Modules');
      await page.locator('article[data-module=led]').waitFor();

      const since = await freeze(() => system.freezeHub());

      await connection('unresponsive').waitFor();
      expect(since()).toBeGreaterThan(8 * SECONDS);
      expect(since()).toBeLessThan(20 * SECONDS);
      await connection('lost').waitFor();
      expect(since()).toBeLessThan(30 * SECONDS);
    });

    test('marks values by their age', async () => {
      await open('Dashboard');
      const age = page.locator('[data-widget=sensor][data-module=temperature]').first().locator('[data-age]');

      await expect.poll(() => age.getAttribute('data-age')).toBe('stale');
      const before = await seconds(age);
      await expect.poll(() => seconds(age)).toBeGreaterThan(before);
    });

    test('and shows new ones when the hub continues', async () => {
      resumeProcess();

      await connection('live').waitFor();
      const age = page.locator('[data-widget=sensor][data-module=temperature]').first().locator('[data-age]');
      await expect.poll(() => age.getAttribute('data-age')).toBe('new');
    });
  });
});
