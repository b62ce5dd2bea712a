import { expect, test } from 'vitest';
import { matches } from './find';

const texts = ['Temperature · supply line', 'boiler-2', 'supply-line', 'late'];

test.each(['', '  ', 'temp', 'BOILER', 'supply boiler', 'late boiler-2', 'supply-line'])('%o matches', (query) => {
  expect(matches(query, texts)).toBe(true);
});

test.each(['return', 'boiler humidity', 'boiler-3'])('%o does not match', (query) => {
  expect(matches(query, texts)).toBe(false);
});

test('no word matches across two texts', () => {
  expect(matches('lineboiler', texts)).toBe(false);
});
