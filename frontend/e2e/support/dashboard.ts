/** The page of a running hub, for the tests of one file. */
import { mkdir } from 'node:fs/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, onTestFailed } from 'vitest';
import { openBrowser } from './browser.ts';
import { createFirstAdmin } from './login.ts';
import { type System, startSystem } from './system.ts';

// Each test file has its own copy of this module, and `useDashboard` sets these before its first test.
export let system: System;
export let browser: Browser;
export let page: Page;
/** The errors in the browser's console. */
export const consoleErrors: string[] = [];

export interface Options {
  /** The size of the window in CSS pixels. */
  viewport?: { width: number; height: number };
  /** Whether the first admin is created and the dashboard is live before the first test. */
  logIn?: boolean;
  /** Called before the page is opened. */
  prepare?: () => unknown;
}

/** Starts the system and a browser for the tests of this `describe`. A test that fails leaves a screenshot. */
export function useDashboard(options: Options = {}): void {
  const { viewport = { width: 1280, height: 900 }, logIn = true, prepare } = options;

  beforeAll(async () => {
    [system, browser] = await Promise.all([startSystem(), openBrowser()]);
    page = await browser.newPage({ viewport });
    page.on('pageerror', (error) => consoleErrors.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') consoleErrors.push(message.text());
    });
    await prepare?.();
    if (logIn) await createFirstAdmin(page, system);
  });

  afterAll(async () => {
    await browser?.close();
    await system?.stop();
  });

  beforeEach(() => {
    onTestFailed(async ({ task }) => {
      await mkdir('test-results', { recursive: true });
      await page.screenshot({ path: `test-results/${task.name.replaceAll(/\W+/g, '-')}.png`, fullPage: true });
    });
  });
}

/** Sends a JSON body to the hub, with a credential if it needs one. */
export async function send(
  method: 'POST' | 'PUT',
  path: string,
  body: unknown,
  credential: Record<string, string> = {}
): Promise<void> {
  const response = await fetch(system.url + path, {
    method,
    headers: { 'content-type': 'application/json', ...credential },
    body: JSON.stringify(body)
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
}
