import { describe, expect, test } from 'vitest';
import { fieldsOf, initialValues, lampFieldsOf, paramsOf } from './fields';

const object = (properties: object, required: string[] = []) => ({ type: 'object', properties, required });
const LAMP = object({ on: { type: 'boolean' }, brightness: { type: 'integer', minimum: 0, maximum: 100 } });

describe('a schema becomes a form', () => {
  test.each([
    [{ type: 'boolean' }, { kind: 'switch' }],
    [
      { type: 'integer', minimum: 0, maximum: 100 },
      { kind: 'slider', min: 0, max: 100, step: 1, integer: true }
    ],
    [
      { type: 'number', minimum: 0, maximum: 2 },
      { kind: 'slider', min: 0, max: 2, step: 0.01 }
    ],
    [
      { type: 'integer', exclusiveMinimum: 0, exclusiveMaximum: 10 },
      { kind: 'slider', min: 1, max: 9 }
    ],
    [
      { type: 'integer', minimum: 0, maximum: 100, multipleOf: 5 },
      { kind: 'slider', step: 5 }
    ],
    [
      { type: 'number', minimum: 0 },
      { kind: 'number', min: 0, max: null, step: 'any' }
    ],
    [{ enum: ['small', 'large'] }, { kind: 'select', options: ['small', 'large'] }],
    [
      { type: 'string', enum: ['a'] },
      { kind: 'select', options: ['a'] }
    ],
    [{ const: 'reset' }, { kind: 'select', options: ['reset'] }],
    [
      { type: 'string', maxLength: 40 },
      { kind: 'text', maxLength: 40 }
    ],
    [{ type: ['integer', 'null'], minimum: 1, maximum: 3 }, { kind: 'slider' }],
    [{ type: 'array' }, { kind: 'json' }],
    [{}, { kind: 'json' }]
  ])('%j', (property, expected) => {
    expect(fieldsOf(object({ x: property }))[0]).toMatchObject(expected);
  });

  test('with labels, descriptions and required fields, in its own order', () => {
    const schema = object({ 'fade-secs': { type: 'number', description: 'How slowly' }, on: { title: 'Light' } }, [
      'on'
    ]);

    const [fade, on] = fieldsOf(schema);

    expect(fade).toMatchObject({ label: 'fade secs', description: 'How slowly', required: false });
    expect(on).toMatchObject({ label: 'Light', description: null, required: true });
  });

  test.each([undefined, null, true, 'object', { type: 'object' }])('of no fields when it is %j', (schema) => {
    expect(fieldsOf(schema)).toEqual([]);
  });
});

describe('the form starts', () => {
  test('with the reported state, which has priority over defaults', () => {
    const fields = fieldsOf(object({ size: { type: 'integer', default: 3 }, on: { type: 'boolean', default: true } }));

    expect(initialValues(fields, { size: 7 })).toEqual({ size: 7, on: true });
  });

  test('without a reported value that does not fit', () => {
    const fields = fieldsOf(object({ size: { enum: ['small', 'large'] } }));

    expect(initialValues(fields, { size: 'huge' })).toEqual({});
  });

  test('with a value in every required field with a choice', () => {
    const properties = {
      on: { type: 'boolean' },
      size: { enum: ['s', 'l'] },
      level: { type: 'integer', minimum: 2, maximum: 9 }
    };
    const fields = fieldsOf(object(properties, ['on', 'size', 'level']));

    expect(initialValues(fields, null)).toEqual({ on: false, size: 's', level: 2 });
  });
});

describe('the form sends', () => {
  test('only filled-in fields', () => {
    const fields = fieldsOf(object({ text: { type: 'string' }, on: { type: 'boolean' }, n: { type: 'number' } }));

    expect(paramsOf(fields, { text: '', on: false })).toEqual({ params: { on: false }, errors: {} });
  });

  test('nothing while a required field is empty', () => {
    const fields = fieldsOf(object({ n: { type: 'number' } }, ['n']));

    expect(paramsOf(fields, {}).errors).toEqual({ n: 'Required' });
  });

  test.each([
    [{ type: 'integer', minimum: 0, maximum: 10 }, 11, 'At most 10'],
    [{ type: 'integer', minimum: 0, maximum: 10 }, -1, 'At least 0'],
    [{ type: 'integer' }, 1.5, 'Enter a whole number'],
    [{ type: 'number' }, NaN, 'Enter a number'],
    [{ type: 'string', maxLength: 2 }, 'abc', 'At most 2 characters'],
    [{ type: 'array' }, '[1,', 'Not valid JSON']
  ])('%j refuses %j: %s', (property, value, error) => {
    expect(paramsOf(fieldsOf(object({ x: property })), { x: value }).errors).toEqual({ x: error });
  });

  test('JSON as its value', () => {
    expect(paramsOf(fieldsOf(object({ x: { type: 'array' } })), { x: '[1, 2]' }).params).toEqual({ x: [1, 2] });
  });
});

describe('a lamp', () => {
  test('is an action that switches and dims', () => {
    expect(lampFieldsOf(LAMP)).toMatchObject({ on: { kind: 'switch' }, brightness: { kind: 'slider', max: 100 } });
  });

  test.each([
    ['that cannot be dimmed', object({ on: { type: 'boolean' } })],
    ['whose brightness has no end', object({ on: { type: 'boolean' }, brightness: { type: 'number' } })],
    ['with a required colour', object({ ...LAMP.properties, colour: { type: 'string' } }, ['colour'])],
    ['without a schema', undefined]
  ])('is not one %s', (_, schema) => {
    expect(lampFieldsOf(schema)).toBeNull();
  });
});
