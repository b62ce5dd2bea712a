import type { Page } from 'playwright-core';
import type { System } from './system.ts';

export const NAME = 'anna';
export const PASSWORD = 'correct horse battery';

/** Creates the hub's first admin and waits until the dashboard is live. */
export async function createFirstAdmin(page: Page, system: Pick<System, 'url' | 'firstAdminCode'>): Promise<void> {
  await page.goto(system.url);
  await page.getByLabel('One-time code').fill(system.firstAdminCode);
  await page.getByLabel('Name').fill(NAME);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.locator('[data-live=live]').waitFor();
}

/** Fills in the login form. */
export async function logIn(page: Page): Promise<void> {
  await page.getByLabel('Name').fill(NAME);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Log in' }).click();
}
