/** A module with several sensors of one type, in a real browser with a real hub: each channel is a series. */
import { beforeAll, describe, expect, test } from 'vitest';
import { page, send as sendTo, system, useDashboard } from './support/dashboard.ts';

const MODULE = 'boiler';
/**
 * The channels with their titles, and the value and number of their readings in the last hour. The number exceeds
 * what a page gets when it connects (60), so that it has to load the rest.
 */
const SENSORS = [
  { channel: undefined, title: 'Temperature', value: 20, count: 80 },
  { channel: 'supply-line', title: 'Temperature · supply line', value: 55, count: 90 },
  { channel: '28-0316a2790c1b', title: 'Temperature · 28-0316a2790c1b', value: 42, count: 100 }
] as const;
/** Readings older than the live hour, for the aggregates of a day. */
const DAY_COUNT = 6;
const LOST = 7;

let now: number;
/** The token of the module. */
let token: string;

const send = (method: 'POST' | 'PUT', path: string, body: unknown) =>
  sendTo(method, path, body, { authorization: `Bearer ${token}` });

/** Makes a token for the module, as the admin of the page. */
const makeToken = (): Promise<string> =>
  page.evaluate(async (module_id) => {
    const response = await fetch('/api/auth/tokens', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: module_id, role: 'module', module_id })
    });
    return ((await response.json()) as { token: string }).token;
  }, MODULE);

/** The times of a sensor's readings: `count` in the last hour, 30 s apart, and some hours before. */
const times = (count: number): number[] => [
  ...Array.from({ length: DAY_COUNT }, (_, at) => now - (DAY_COUNT - at + 2) * 3600),
  ...Array.from({ length: count }, (_, at) => now - (count - 1 - at) * 30)
];

// The mock stores no readings.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('a module with three temperatures', () => {
  useDashboard();

  beforeAll(async () => {
    token = await makeToken();
    now = Math.floor(Date.now() / 1000);
    const unit = 'celsius';
    await send('PUT', `/api/modules/${MODULE}`, {
      version: '1.0.0',
      measures: SENSORS.map(({ channel }) => ({ type: 'temperature', channel, unit }))
    });
    const readings = SENSORS.flatMap(({ channel, value, count }) =>
      times(count).map((timestamp) => ({ module_id: MODULE, channel, value, unit, timestamp }))
    );
    await send('POST', '/api/sensors/temperature', readings);
    await send('POST', `/api/modules/${MODULE}/gaps`, {
      epoch: 1,
      first_seq: 1,
      last_seq: 2 * LOST,
      reason: 'full',
      series: [
        { type: 'temperature', lost: LOST, since: now - 1800, until: now - 1700 },
        { type: 'temperature', channel: 'supply-line', lost: LOST, since: now - 1800, until: now - 1700 }
      ]
    });
    // The page gets the readings as a new page does, not as events.
    await page.reload();
  });

  const tiles = () => page.locator(`[data-widget=sensor][data-module=${MODULE}]`);
  const tile = (title: string) => tiles().filter({ has: page.getByRole('heading', { name: title, exact: true }) });
  const number = async (title: string, name: string) => Number(await tile(title).getByRole('img').getAttribute(name));

  test('has a tile for each of them, titled by its channel', async () => {
    await expect.poll(() => tiles().count()).toBe(SENSORS.length);

    expect(await tiles().getByRole('heading').allTextContents()).toEqual(SENSORS.map(({ title }) => title));
    expect(await page.getByRole('heading', { name: 'Temperature · supply line' }).getAttribute('title')).toBe(
      'Channel supply-line'
    );
  });

  test.each(SENSORS)('shows the value of $title', async ({ title, value }) => {
    expect(await tile(title).locator('[data-value]').getAttribute('data-value')).toBe(String(value));
  });

  test.each(SENSORS)('draws only the readings of $title in its chart', async ({ title, value, count }) => {
    await expect.poll(() => number(title, 'data-points')).toBe(count);
    const summary = await tile(title).getByRole('img').getAttribute('aria-label');

    expect(summary).toContain(`${title}, last hour: lowest ${value}.0 °C, highest ${value}.0 °C`);
  });

  test.each(SENSORS)('marks only the lost readings of $title', async ({ title, channel }) => {
    await expect.poll(() => number(title, 'data-gaps')).toBe(channel === '28-0316a2790c1b' ? 0 : 1);
  });

  test.each(SENSORS)('draws only the aggregates of $title over a day', async ({ title, value }) => {
    await tile(title).getByRole('button', { name: 'Last day' }).click();

    const summary = () => tile(title).getByRole('img').getAttribute('aria-label');
    await expect.poll(summary).toContain(`last day: lowest ${value}.0 °C, highest ${value}.0 °C`);
  });

  test.each(SENSORS)('saves only the readings of $title', async ({ title, channel, count }) => {
    const text = await tile(title)
      .getByRole('link', { name: /as CSV$/ })
      .evaluate(async (link) => (await fetch((link as HTMLAnchorElement).href)).text());
    const rows = text.trim().split('\r\n').slice(1);

    expect(new Set(rows.map((row) => row.split(',')[2]))).toEqual(new Set([channel ?? '']));
    expect(rows).toHaveLength(count + DAY_COUNT);
  });

  test('draws a new reading on one channel in the chart of that channel alone', async () => {
    const timestamp = Date.now() / 1000;
    await send('POST', '/api/sensors/temperature', {
      module_id: MODULE,
      channel: 'supply-line',
      value: 56,
      unit: 'celsius',
      timestamp
    });

    await tile('Temperature · supply line').locator('[data-value="56"]').waitFor();
    expect(await tile('Temperature').locator('[data-value]').getAttribute('data-value')).toBe('20');
  });

  test('lists each of them on the modules page, with a file of its own and its lost readings', async () => {
    await page.locator('nav').getByRole('link', { name: 'Modules' }).click();
    const card = page.locator(`article[data-module=${MODULE}]`);
    await card.getByText('Commands and manifest').click();

    const files = card.getByRole('link', { name: /as CSV$/ });
    await expect.poll(() => files.count()).toBe(SENSORS.length);
    const links = await files.evaluateAll((all) => all.map((link) => new URL((link as HTMLAnchorElement).href).search));
    expect(links.map((query) => new URLSearchParams(query).get('channel')).toSorted()).toEqual(
      SENSORS.map(({ channel }) => channel ?? '').toSorted()
    );

    await card.locator('[data-account] summary').click();
    await card.getByText('7 readings of temperature (supply-line)').waitFor();
    await card.getByText('7 readings of temperature:').waitFor();
  });

  test('offers each of them as an event that starts a recording', async () => {
    await page.goto(`${system.url}/cameras?id=camera`);
    await page.getByRole('button', { name: 'Change' }).click();
    await page.getByLabel('Recording mode').selectOption('on_event');
    await page.getByLabel('Event', { exact: true }).selectOption({ label: 'Temperature · supply line of boiler' });
    await page.getByLabel('Value', { exact: true }).fill('60');
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByRole('button', { name: 'Save', exact: true }).click();

    const triggers = () =>
      page.evaluate(async () => {
        const report = (await (await fetch('/api/cameras/camera/recording')).json()) as { triggers: unknown[] };
        return report.triggers;
      });
    await expect
      .poll(triggers)
      .toEqual([{ module_id: MODULE, type: 'temperature', channel: 'supply-line', above: 60 }]);
  });
});
