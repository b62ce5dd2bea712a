/**
 * The pages show the actual state of modules and cameras, on screens of every width, in a real browser with a
 * real hub.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { browser, page, system, useDashboard } from './support/dashboard.ts';

/** The longest id that the hub accepts, without a position for a line break. */
const LONG = 'greenhouse'.repeat(7).slice(0, 64);

// The mock has no modules that could be frozen, and records nothing.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('the dashboard', () => {
  useDashboard();

  beforeEach(() => {
    onTestFailed(async () => {
      // Whether the hub or the page was wrong.
      const modules = await page.evaluate(async () => (await fetch('/api/modules')).text());
      console.error(`the hub's modules at ${new Date().toISOString()}: ${modules}`);
    });
  });

  const nav = (name: string) => page.locator('nav').getByRole('link', { name }).click();
  const cameraTile = () => page.locator('[data-widget=camera][data-module=camera]');
  const card = (title: string) =>
    page.locator('section').filter({ has: page.getByRole('heading', { name: title, exact: true }) });

  describe('a camera tile', () => {
    test.each([1280, 800, 390])('has the aspect ratio of its frames on a screen of %d px', async (width) => {
      await page.setViewportSize({ width, height: 900 });
      const canvas = cameraTile().locator('canvas');
      await expect.poll(() => canvas.evaluate((element) => (element as HTMLCanvasElement).width)).toBeGreaterThan(16);

      const { shown, picture } = await canvas.evaluate((element) => {
        const box = element.getBoundingClientRect();
        const { width, height } = element as HTMLCanvasElement;
        return { shown: box.width / box.height, picture: width / height };
      });

      expect(shown).toBeCloseTo(picture, 1);
    });

    test('leaves no gap below it, and is not stretched beside higher tiles', async () => {
      await page.setViewportSize({ width: 1280, height: 900 });

      const measure = () =>
        cameraTile().evaluate((tile) => {
          const box = tile.getBoundingClientRect();
          const frame = (tile.querySelector('.frame') as Element).getBoundingClientRect();
          const below = [...document.querySelectorAll('[data-widget]')]
            .map((other) => other.getBoundingClientRect())
            .filter((other) => other.top >= box.bottom && other.left < box.right && other.right > box.left)
            .map((other) => other.top - box.bottom);
          return { stretched: box.bottom - frame.bottom, hole: Math.min(...below) };
        });

      // The layout follows the new viewport size only after the observers of the tiles have run.
      await expect.poll(async () => (await measure()).stretched).toBeLessThan(24);
      await expect.poll(async () => (await measure()).hole).toBeLessThan(26);
    });
  });

  describe('the viewers of a camera', () => {
    test('are never shown as none while this page is one', async () => {
      await nav('Cameras');
      await page.evaluate(() => {
        const texts: string[] = [];
        Object.assign(window, { texts });
        new MutationObserver(() => texts.push(document.body.innerText)).observe(document.body, {
          childList: true,
          subtree: true,
          characterData: true
        });
      });

      await page.locator('[data-widget=camera][data-module=camera] a').click();
      await page.getByRole('row').filter({ hasText: 'Dashboard' }).first().waitFor();

      const texts = await page.evaluate(() => (window as unknown as { texts: string[] }).texts);
      expect(texts.some((text) => text.includes('Viewers'))).toBe(true);
      expect(texts.filter((text) => /no viewers/i.test(text))).toEqual([]);
    });

    test('include this page on the dashboard', async () => {
      await nav('Dashboard');
      await page.locator('[data-condition=live]').waitFor();

      expect(
        await cameraTile()
          .getByText(/\d+ viewers?/)
          .textContent()
      ).toMatch(/^[1-9]/);
    });
  });

  describe('"Record now"', () => {
    test('shows that it records, for how long, and not the previous mode', async () => {
      await cameraTile().getByRole('link', { name: 'Full view' }).click();
      await page.getByRole('button', { name: 'Record now' }).click();

      const recording = card('Recording');
      await recording.getByText(/^[1-9]\d* s left$/).waitFor();
      const text = await recording.innerText();
      expect(text).toMatch(/Recording\b/);
      expect(text).not.toMatch(/^Off$/m);
      expect(text).not.toContain('No recordings yet');
    });

    test('does not count the recorder as a viewer', async () => {
      const camera = () =>
        page.evaluate(async () => {
          const { items } = (await (await fetch('/api/cameras')).json()) as {
            items: { viewers: number; watching: { via: string }[] }[];
          };
          return items[0];
        });

      await expect.poll(async () => (await camera())?.watching.map((one) => one.via)).toContain('recording');
      const { viewers, watching } = (await camera()) ?? { viewers: -1, watching: [] };
      expect(viewers).toBe(watching.filter((one) => one.via !== 'recording').length);
    });

    test('ends when it is stopped', async () => {
      await card('Recording').getByRole('button', { name: 'Stop recording' }).click();

      await card('Recording').locator('[data-recording=false]').waitFor({ state: 'attached' });
      await card('Recording').getByText('Off. “Record now” still works.').waitFor();
    });
  });

  describe('an event that arrives before an older response', () => {
    const lamp = () => page.locator('[data-widget=lamp][data-module=led]');
    const isOn = async () => (await lamp().locator('[data-on]').getAttribute('data-on')) === 'true';

    test('is not undone by the response', async () => {
      await nav('Dashboard');
      await lamp().waitFor();
      const before = await isOn();
      // The list of the modules page is answered by the hub, and held back.
      let release = () => {};
      const released = new Promise<void>((resolve) => (release = resolve));
      const held = new Promise<void>((resolve) => {
        void page.route(
          '**/api/modules?*',
          async (route) => {
            const response = await route.fetch();
            resolve();
            await released;
            await route.fulfill({ response });
          },
          { times: 1 }
        );
      });
      await nav('Modules');
      await held;
      const answered = page.waitForResponse('**/api/modules?*');

      await page.evaluate(
        (on) =>
          fetch('/api/modules/led/control', {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ action: 'set', params: { on } })
          }),
        !before
      );
      const state = page.locator('article[data-module=led] section[aria-label="Reported state"]');
      await state.locator(`dd:text-is("${!before}")`).waitFor();
      release();
      await (await answered).finished();

      await nav('Dashboard');
      await lamp().locator(`[data-on=${!before}]`).waitFor();
    });
  });

  describe('a lamp whose module went offline', () => {
    const lamp = () => page.locator('[data-widget=lamp][data-module=led]');
    /**
     * A frozen module is offline once its open request for commands has ended (25 s) and three reports are
     * missing.
     */
    const OFFLINE_MS = 75_000;
    let resume = () => {};
    afterAll(() => resume());

    test(
      'is shown with its last known state, unlit, and cannot be switched',
      async () => {
        await nav('Dashboard');
        await page.waitForFunction(() => document.querySelector('[data-widget=lamp] [role=switch]'));
        if ((await lamp().getByRole('switch').getAttribute('aria-checked')) === 'false') {
          await lamp().getByRole('switch').click();
        }
        await lamp().locator('[data-on=true]').waitFor();
        const glow = () =>
          lamp()
            .locator('.bulb')
            .evaluate((bulb) => getComputedStyle(bulb).boxShadow);
        await expect.poll(glow).not.toBe('none');

        resume = await system.freezeModule('led');

        await lamp().getByText('Last known state').waitFor({ timeout: OFFLINE_MS });
        await expect.poll(glow).toBe('none');
        expect(await lamp().getByRole('switch').isDisabled()).toBe(true);
        expect(await lamp().getByRole('slider').isDisabled()).toBe(true);
        await lamp().getByText('Module led is offline.').waitFor();
      },
      2 * OFFLINE_MS
    );

    test('has a form that says when its command is delivered', async () => {
      const form = page.locator('[data-widget=action][data-module=led]');

      await form.getByText('Module led is offline. A command is delivered if it comes back within 1 min.').waitFor();
    });

    test('has its state marked as last known on the modules page', async () => {
      await nav('Modules');

      await page.locator('article[data-module=led]').getByText('Last known state').waitFor();
    });

    test('can be switched again when it is back', async () => {
      resume();
      resume = () => {};
      await nav('Dashboard');

      await expect.poll(() => lamp().getByRole('switch').isEnabled()).toBe(true);
      expect(await lamp().getByText('Last known state').count()).toBe(0);
    });
  });

  describe('with ids of 64 letters, on a screen of 320 px', () => {
    /** Elements wider than their card that do not scroll. */
    const tooWide = () =>
      page.evaluate(() =>
        [...document.querySelectorAll('article, section')]
          .filter((card) => card.scrollWidth > card.clientWidth)
          .map((card) => card.textContent.trim().slice(0, 60))
      );

    const scrolls = () =>
      page.evaluate(() => ({
        wide: document.documentElement.scrollWidth,
        screen: document.documentElement.clientWidth
      }));

    beforeAll(async () => {
      const sent = await page.evaluate(async (id) => {
        const now = Date.now() / 1000;
        const readings = [0, 1, 2].map((at) => ({
          module_id: id,
          value: at * 3e-6,
          unit: 'furlong_per_fortnight',
          timestamp: now - at
        }));
        const type = 'speed-of-the-very-slow-conveyor-belt-in-the-north-bay';
        const json = { method: 'POST', headers: { 'content-type': 'application/json' } };
        const first = await fetch(`/api/sensors/${type}`, { ...json, body: JSON.stringify(readings) });
        const picture = await (await fetch('/api/camera/snapshot?module_id=camera')).blob();
        const second = await fetch(`/api/camera/frame?module_id=${id}`, {
          method: 'POST',
          headers: { 'content-type': 'image/jpeg' },
          body: picture
        });
        return [first.status, second.status];
      }, LONG);
      expect(sent).toEqual([200, 200]);
      await page.setViewportSize({ width: 320, height: 640 });
    });

    test.each(['Dashboard', 'Cameras', 'Modules', 'Storage'])('%s does not scroll sideways', async (name) => {
      await nav(name);
      await page
        .locator(name === 'Storage' ? '[role=meter]' : `[data-module=${LONG}]`)
        .first()
        .waitFor();
      if (name === 'Modules') {
        // The module that has run commands; its card may be drawn after the one awaited above.
        await page.locator('[data-module=led]').first().waitFor();
        for (const summary of await page.getByText('Commands and manifest').all()) await summary.click();
        await page.locator('[data-state=succeeded]').first().waitFor();
      }

      const { wide, screen } = await scrolls();

      expect(wide).toBeLessThanOrEqual(screen);
      expect(await tooWide()).toEqual([]);
      // Every entry of the menu is readable.
      for (const link of await page.locator('header nav a').all()) {
        const box = await link.boundingBox();
        expect((box?.x ?? -1) >= 0 && (box?.x ?? 0) + (box?.width ?? 0) <= 320).toBe(true);
      }
    });

    test.each(['camera', LONG])('the full view of a camera does not scroll sideways (%s)', async (id) => {
      await page.goto(`${system.url}/cameras?id=${id}`);
      await page.locator(`[data-camera=${id}]`).waitFor();
      await page.getByRole('row').filter({ hasText: 'Dashboard' }).first().waitFor();
      await page.getByRole('button', { name: 'Change' }).click();

      const { wide, screen } = await scrolls();

      expect(wide).toBeLessThanOrEqual(screen);
      expect(await tooWide()).toEqual([]);
    });

    test('a cut-off id ends with an ellipsis and is complete in a tooltip', async () => {
      await nav('Dashboard');
      const id = page.locator(`[data-widget=sensor][data-module=${LONG}]`).getByTitle(LONG);

      const { cut, overflow } = await id.evaluate((element) => ({
        cut: element.scrollWidth > element.clientWidth,
        overflow: getComputedStyle(element).textOverflow
      }));

      expect({ cut, overflow }).toEqual({ cut: true, overflow: 'ellipsis' });
    });

    test.each(['/nowhere', '/login'])('%s does not scroll sideways, without a session', async (path) => {
      const stranger = await browser.newPage({ viewport: { width: 320, height: 640 } });
      await stranger.goto(system.url + path);
      await stranger.getByRole('heading').first().waitFor();

      expect(await stranger.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
      await stranger.close();
    });
  });
});
