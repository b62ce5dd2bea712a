/** A hub with 60 modules and 1,000 series, in a real browser: what a visitor finds, and how it looks. */
import type { Locator } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { page, send as sendTo, useDashboard } from './support/dashboard.ts';

const MODULES = 60;
const SERIES = 1000;
const TYPES = ['temperature', 'humidity', 'pressure', 'voltage', 'illuminance', 'motion'];
const UNITS: Readonly<Record<string, string>> = {
  temperature: 'celsius',
  humidity: 'percent',
  pressure: 'hectopascal',
  voltage: 'volt',
  illuminance: 'lux',
  motion: 'boolean'
};
const SERIAL = '28-0316a2790c1b';

interface Measure {
  type: string;
  channel?: string;
  unit: string;
}

const idOf = (module: number) => `room-${String(module).padStart(2, '0')}`;

/** One series of each type, and channels of the temperature; the first one of the first module is a serial number. */
function measuresOf(module: number): Measure[] {
  const single = TYPES.map((type) => ({ type, unit: UNITS[type] ?? '' }));
  const count = Math.ceil(((module + 1) * SERIES) / MODULES) - Math.ceil((module * SERIES) / MODULES) - single.length;
  const channels = Array.from({ length: count }, (_, at) => (module === 0 && at === 0 ? SERIAL : `probe-${at}`));
  return [...single, ...channels.map((channel) => ({ type: 'temperature', channel, unit: 'celsius' }))];
}

/** The session of the admin of the page. */
async function cookie(): Promise<string> {
  const all = await page.context().cookies();
  return all.map(({ name, value }) => `${name}=${value}`).join('; ');
}

// The mock stores no readings.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('a hub with a thousand series', () => {
  useDashboard();

  beforeAll(async () => {
    const session = await cookie();
    const send = (method: 'POST' | 'PUT', path: string, body: unknown) =>
      sendTo(method, path, body, { cookie: session });
    const now = Math.floor(Date.now() / 1000);
    for (let module = 0; module < MODULES; module += 1) {
      const measures = measuresOf(module);
      await send('PUT', `/api/modules/${idOf(module)}`, { version: '1.0.0', measures });
      const readings = measures.flatMap(({ type, channel, unit }, at) =>
        [600, 300, 0].map((age) => ({
          module_id: idOf(module),
          type,
          channel,
          unit,
          value: type === 'motion' ? at % 2 : 20 + at,
          timestamp: now - age
        }))
      );
      await send('POST', '/api/sensors', readings);
    }
    // An hour apart for a day, and every minute in the last ten: the interval of the module changed.
    const times = [
      ...Array.from({ length: 24 }, (_, at) => 3600 * (24 - at)),
      ...Array.from({ length: 10 }, (_, at) => 60 * at)
    ];
    const reading = { module_id: 'zz-hourly', type: 'level', unit: 'percent', value: 50 };
    await send(
      'POST',
      '/api/sensors',
      times.map((age) => ({ ...reading, timestamp: now - age }))
    );
    await page.reload();
    await page.locator('[data-live=live]').waitFor();
  });

  const tiles = () => page.locator('[data-widget=sensor]');
  const search = () => page.getByRole('searchbox');
  const open = (name: string) => page.locator('nav').getByRole('link', { name, exact: true }).click();

  /** The number of lines of a text. */
  const lines = (text: Locator) =>
    text.evaluate((element) => {
      const range = document.createRange();
      range.selectNodeContents(element);
      return new Set([...range.getClientRects()].filter(({ width }) => width > 0).map(({ top }) => Math.round(top / 8)))
        .size;
    });

  test('creates the tiles of the first screens only, and more at the end of the page', async () => {
    await tiles().first().waitFor();
    const first = await tiles().count();
    expect(first).toBeLessThan(100);

    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));

    await expect.poll(() => tiles().count()).toBeGreaterThan(first);
    await page.evaluate(() => scrollTo(0, 0));
  });

  test('finds the sensors of a module by its id, and one of them by a word of its title', async () => {
    await search().fill('room-07');
    await page
      .getByRole('status')
      .getByText(`${measuresOf(7).length} matches`)
      .waitFor();
    expect(await tiles().count()).toBe(measuresOf(7).length);

    await search().fill('Room-07 humid');

    await page.getByRole('status').getByText('1 match', { exact: true }).waitFor();
    expect(await tiles().getByRole('heading').allTextContents()).toEqual(['Humidity']);
  });

  test('gives each channel of a type a colour of its own, which its title and its chart share', async () => {
    await search().fill('room-00 temperature');
    const count = measuresOf(0).filter(({ type }) => type === 'temperature').length;
    await page.getByRole('status').getByText(`${count} matches`).waitFor();

    const colours = await tiles()
      .locator('[data-colour]')
      .evaluateAll((all) => all.map((dot) => dot.getAttribute('data-colour')));
    expect(new Set(colours.slice(0, 7)).size).toBe(7);
    const tile = tiles().filter({ has: page.getByRole('heading', { name: SERIAL }) });
    const colour = (await tile.locator('[data-colour]').getAttribute('data-colour')) ?? '';
    const inked = () =>
      tile.locator('canvas').evaluate((element, name) => {
        const canvas = element as HTMLCanvasElement;
        const hex = getComputedStyle(canvas).getPropertyValue(name).trim();
        const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
        const data = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
        let count = 0;
        for (let at = 0; at < data.length; at += 4) {
          const isNear = wanted.every((value, part) => Math.abs(value - (data[at + part] ?? 0)) < 24);
          if (isNear && (data[at + 3] ?? 0) > 200) count += 1;
        }
        return count;
      }, colour);
    await expect.poll(inked).toBeGreaterThan(10);
  });

  test('names the channel beside the value under the pointer', async () => {
    const tile = tiles().filter({ has: page.getByRole('heading', { name: SERIAL }) });
    const plot = tile.locator('.u-over');
    await plot.scrollIntoViewIfNeeded();
    await plot.hover();

    await expect.poll(() => tile.locator('figcaption').textContent()).toContain(SERIAL);
  });

  test.each([1440, 390, 320])('does not break a serial number at its hyphen, on a screen of %d px', async (width) => {
    await page.setViewportSize({ width, height: 900 });
    await search().fill(SERIAL);
    const channel = tiles().getByRole('heading').locator('span');
    await channel.waitFor();

    expect(await lines(channel)).toBe(1);
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  test('draws a line through the averages of a module that measured once an hour', async () => {
    await search().fill('zz-hourly');
    await tiles().getByRole('button', { name: 'Last week' }).click();
    await expect.poll(() => tiles().getByRole('img').getAttribute('data-points')).toMatch(/^2\d$/);

    expect(await tiles().getByRole('img').getAttribute('data-breaks')).toBe('0');
  });

  test('finds modules', async () => {
    await open('Modules');
    const search = () => page.getByRole('searchbox', { name: 'Find modules', exact: true });
    await search().fill('room-07');
    await expect.poll(() => page.locator('article').count()).toBe(1);

    await search().fill('no such module');

    await page.getByRole('status').getByText('0 matches').waitFor();
    await search().fill('');
  });

  test('lists no sensor with an empty unit', async () => {
    const chips = page.locator('article[data-module=room-00] li');
    await chips.first().waitFor();

    expect(await chips.locator('span:empty').count()).toBe(0);
  });

  test.each(['Dashboard', 'Modules'])('%s does not scroll sideways on a phone', async (name) => {
    await page.setViewportSize({ width: 390, height: 844 });
    await open(name);
    await page.locator('article').first().waitFor();

    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  });
});
