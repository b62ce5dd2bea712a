/** The dashboard behind nginx, in common configurations. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBrowser } from './support/browser.ts';
import { type Hub, startHub } from './support/hub.ts';
import { logIn } from './support/login.ts';
import { type Proxy, startNginx } from './support/nginx.ts';

/** The directives to pass WebSockets on, and the browser's own Host. */
const UPGRADE =
  'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;';
const HOST = 'proxy_set_header Host $http_host;';

let hub: Hub;
let below: Hub;
let proxy: Proxy;
let browser: Browser;

beforeAll(async () => {
  [hub, below] = await Promise.all([startHub(''), startHub('http.base_path = "/iotpi"')]);
  proxy = await startNginx([
    `location / { proxy_pass ${hub.url}; }`,
    `location / { proxy_pass ${hub.url}; ${UPGRADE} proxy_set_header Host $host; }`,
    `location / { proxy_pass ${hub.url}; ${UPGRADE} ${HOST} }`,
    `location /iotpi/ { proxy_pass ${hub.url}/; ${UPGRADE} ${HOST} proxy_set_header X-Forwarded-Prefix /iotpi; }`,
    `location /iotpi/ { proxy_pass ${below.url}; ${UPGRADE} ${HOST} }`,
    `location /house/iotpi/ { proxy_pass ${hub.url}/; ${UPGRADE} ${HOST} }`,
    `location /iotpi/ { proxy_pass ${hub.url}; ${UPGRADE} ${HOST} }`
  ]);
  browser = await openBrowser();
});

afterAll(async () => {
  await browser?.close();
  await proxy?.stop();
  await Promise.all([hub?.stop(), below?.stop()]);
});

/** Opens a page and collects failed requests. */
async function open(url: string): Promise<{ page: Page; failed: string[] }> {
  const page = await browser.newPage();
  const failed: string[] = [];
  page.on('response', (response) => {
    if (response.status() >= 400) failed.push(`${response.status()} ${response.url()}`);
  });
  page.on('pageerror', (error) => failed.push(error.message));
  await page.goto(url);
  return { page, failed };
}

test.each([
  ['at the root, with the browser’s Host', 2, ''],
  ['below a path that nginx removes and names', 3, '/iotpi'],
  ['below a path that nginx leaves and the hub knows', 4, '/iotpi'],
  ['below a path that nginx removes without naming it', 5, '/house/iotpi']
])('%s the dashboard is live on every page', async (_, at, base) => {
  const root = `${proxy.urls[at]}${base}`;
  const { page, failed } = await open(`${root}/`);

  await logIn(page);
  await page.locator('[data-live=live]').waitFor();
  await page.getByRole('link', { name: 'Modules', exact: true }).click();
  await expect.poll(() => new URL(page.url()).pathname).toBe(`${base}/modules`);
  await page.reload();
  await page.locator('[data-live=live]').waitFor();
  await page.getByRole('contentinfo').getByRole('link', { name: 'API reference', exact: true }).click();
  await page.locator('.opblock').first().waitFor();
  const servers = await page.locator('.servers option').first().getAttribute('value');
  await page.close();

  expect(failed).toEqual([]);
  expect(servers).toBe('../');
});

test.each([
  ['without a Host header', 0],
  ['with $host, which has no port', 1]
])('%s the login page says what to configure', async (_, at) => {
  const { page } = await open(`${proxy.urls[at]}/`);

  await logIn(page);
  await page.getByText('proxy_set_header Host $http_host').waitFor();
  await page.close();
});

test('below a path that nginx keeps and the hub does not know, the page says what to configure', async () => {
  const { page } = await open(`${proxy.urls[6]}/iotpi/`);

  await page.getByText('http.base_path').waitFor();
  await page.close();
});
