import { expect, test } from 'vitest';
import { groupByType } from './format';

test('measures of one type are one group if unit and interval are equal', () => {
  const temperature = { type: 'temperature', unit: 'celsius', every_secs: 5 };

  expect(
    groupByType([
      temperature,
      { type: 'motion', unit: 'boolean' },
      { ...temperature, channel: 'supply' },
      { ...temperature, channel: 'return', every_secs: 60 }
    ])
  ).toEqual([
    { type: 'temperature', text: '°C, every 5 s', channels: [null, 'supply'] },
    { type: 'motion', text: '', channels: [null] },
    { type: 'temperature', text: '°C, every 1 min', channels: ['return'] }
  ]);
});
