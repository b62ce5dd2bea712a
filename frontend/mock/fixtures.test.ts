/** The recorded fixtures are responses of the hub of this version. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Module, Page, Reading } from '../src/lib/api/types';
import { responseErrors } from './contract.ts';
import type { Fixture } from './responses.ts';

const { answers }: Fixture = JSON.parse(readFileSync(new URL('fixtures/recorded.json', import.meta.url), 'utf8'));
const page = <Item>(path: string) => (answers[`GET ${path}`] as Page<Item>).items;

test.each(Object.keys(answers))('%s is a response of this version', (line) => {
  const [method = '', path = ''] = line.split(' ');

  expect(responseErrors(method, new URL(path, 'http://hub'), 200, answers[line])).toEqual([]);
});

test('the fixtures have a module with several channels of one type, and a gap in one of them', () => {
  const channels = page<Reading>('/api/sensors').flatMap(({ module_id, channel }) =>
    module_id === 'boiler' ? [channel ?? null] : []
  );

  expect(channels).toEqual([null, '28-0316a2790c1b', 'supply']);
  expect(page<Reading>('/api/gaps').map(({ channel }) => channel ?? null)).toEqual([null, 'supply']);
});

test('the fixtures have the version of the protocol', () => {
  const boiler = page<Module>('/api/modules').find(({ id }) => id === 'boiler');

  // A manifest omits the first version.
  expect(boiler?.manifest?.protocol ?? 1).toBe((answers['GET /health'] as { protocol: number }).protocol);
});
