/** Charts of a hub with a year of history: their points, their labels, and the value under the pointer. */
import type { CDPSession } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { type Label, labelsOf, recordLabels } from './support/labels.ts';
import { page, send, useDashboard } from './support/dashboard.ts';

const HOUR = 3600;
const DAY = 24 * HOUR;
const MODULE = 'history';
const TYPE = 'ramp';
/** The limit of one request. */
const MAX_READINGS = 1000;
/** As a fraction of the plot of a tile. */
const WIDTH_OF_LABEL = 0.25;

let devTools: CDPSession;
let now: number;

/** The value at a time: hours since a week ago, so that each value belongs to one time only. */
const valueAt = (unixSecs: number) => (unixSecs - (now - 7 * DAY)) / HOUR;

/** Times of one reading a minute for the last week, and one an hour for the year before, oldest first. */
function times(): number[] {
  const all: number[] = [];
  for (let at = now - 365 * DAY; at < now - 7 * DAY; at += HOUR) all.push(at);
  for (let at = now - 7 * DAY; at <= now; at += 60) all.push(at);
  return all;
}

async function record(all: readonly number[]): Promise<void> {
  for (let first = 0; first < all.length; first += MAX_READINGS) {
    const readings = all
      .slice(first, first + MAX_READINGS)
      .map((timestamp) => ({ module_id: MODULE, unit: 'celsius', timestamp, value: valueAt(timestamp) }));
    await send('POST', `/api/sensors/${TYPE}`, readings);
  }
}

// The mock stores no readings.
describe.skipIf(process.env.IOTPI_DEMO === 'mock')('charts of a hub with a year of history', () => {
  useDashboard({
    prepare: async () => {
      now = Math.floor(Date.now() / 1000);
      await record(times());
      devTools = await page.context().newCDPSession(page);
      await recordLabels(page);
    }
  });

  const tile = () => page.locator(`[data-widget=sensor][data-module=${MODULE}]`);
  const chart = () => tile().getByRole('img');
  const points = async () => Number(await chart().getAttribute('data-points'));

  async function choose(span: string): Promise<void> {
    await tile()
      .getByRole('button', { name: `Last ${span}` })
      .click();
    await expect.poll(async () => chart().getAttribute('aria-label')).toMatch(new RegExp(`last ${span}: lowest `));
  }

  /** Opens the page in a time zone that many hours ahead of UTC. */
  async function useTimeZone(hours: number): Promise<void> {
    // The names of these zones count hours behind UTC.
    const timezoneId = `Etc/GMT${hours > 0 ? '-' : '+'}${Math.abs(hours)}`;
    await devTools.send('Emulation.setTimezoneOverride', { timezoneId });
    await page.reload();
  }

  /** The time at a position of the chart, which shows `secs` up to now. */
  const momentAt = (share: number, secs: number) => now - secs + share * secs;

  /** The text of the chart with the pointer at that fraction of its width. */
  async function hovered(share: number): Promise<{ value: number; text: string }> {
    const area = chart().locator('.u-over');
    await area.scrollIntoViewIfNeeded();
    const box = await area.boundingBox();
    if (!box) throw new Error('the chart has no plot');
    await page.mouse.move(box.x + share * box.width, box.y + box.height / 2);
    const text = (await chart().locator('figcaption').textContent()) ?? '';
    return { value: Number(/-?[\d\u202f]+(\.\d+)?/.exec(text)?.[0].replaceAll('\u202f', '')), text };
  }

  const texts = (labels: readonly Label[]) => labels.map(({ text }) => text);

  /** The whole hours or midnights of a time axis, as the browser formats them. */
  const written = (unixSecs: number, step: number) =>
    page.evaluate(
      ([at, every]) => {
        const local = new Date(at * 1000).getTimezoneOffset() * 60;
        const moment = new Date((Math.round((at - local) / every) * every + local) * 1000);
        return moment.getHours() === 0
          ? moment.toLocaleDateString(undefined, { day: 'numeric', month: 'short' })
          : moment.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', hour12: false });
      },
      [unixSecs, step] as const
    );

  describe.each([
    { span: 'day', secs: DAY, buckets: 1440, step: HOUR },
    { span: 'week', secs: 7 * DAY, buckets: 672, step: 12 * HOUR }
  ])('of the last $span', ({ span, secs, buckets, step }) => {
    test('has a point for each bucket of the whole span', async () => {
      await choose(span);

      // The first and the last bucket are cut by the edges, and the window moves by a 300th of its width at a
      // time (STEPS in TimeChart.svelte): up to that much of its left side is cut as well, depending on the
      // time of day.
      await expect.poll(points).toBeGreaterThanOrEqual(buckets - 2 - Math.ceil(buckets / 300));
      expect(await points()).toBeLessThanOrEqual(buckets + 2);
    });

    // Which hours have a label depends on the time of day, and a label that would not fit is left out at either
    // edge. The time zones make one run see the chart at eight times of day.
    test.each([0, 3, 6, 9, -3, -6, -9, -12])('has its labels at their times, %d hours from UTC', async (hours) => {
      await useTimeZone(hours);
      await choose(span);
      await expect.poll(async () => (await labelsOf(chart())).length).toBeGreaterThanOrEqual(2);

      const labels = await labelsOf(chart());
      const [first, second, last] = [labels[0], labels[1], labels.at(-1)] as [Label, Label, Label];
      const distance = second.share - first.share;
      expect(first.share, `first of ${texts(labels)}`).toBeLessThan(distance + WIDTH_OF_LABEL);
      expect(last.share, `last of ${texts(labels)}`).toBeGreaterThan(1 - distance - WIDTH_OF_LABEL);
      for (const { text, share } of labels) expect(text).toBe(await written(momentAt(share, secs), step));
    });

    test.each([0.1, 0.5, 0.9])('shows the value at the pointer, at %d of its width', async (share) => {
      const { value, text } = await hovered(share);

      const moment = momentAt(share, secs);
      // One bucket, and a pixel of the chart, on either side.
      const doubt = (3 * secs) / buckets + secs / 200;
      expect(Math.abs(value - valueAt(moment)), text).toBeLessThan(doubt / HOUR);
    });
  });

  test.each([
    { span: 'month', days: 31, least: 740 },
    { span: 'year', days: 365, least: 364 }
  ])('the last $span begins that long ago', async ({ span, days, least }) => {
    await choose(span);

    await expect.poll(points).toBeGreaterThanOrEqual(least);
    const { value, text } = await hovered(0.02);
    expect(Math.abs(value - valueAt(momentAt(0.02, days * DAY))), text).toBeLessThan(days * 24 * 0.02);
  });

  test('a value from a clock that is ahead shows by how much, and is not shown as new', async () => {
    const reading = { module_id: 'hasty', value: 21, unit: 'celsius', timestamp: Date.now() / 1000 + 120 };
    await send('POST', '/api/sensors/temperature', reading);

    const age = page.locator('[data-widget=sensor][data-module=hasty] [data-age]');
    await age.getByText(/^(2|1) min ahead$/).waitFor();
    expect(await age.getAttribute('data-age')).toBe('ahead');
  });
});
