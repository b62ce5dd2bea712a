/** The form for an action's JSON Schema. A value without a form control is entered as JSON. */

interface Base {
  name: string;
  label: string;
  description: string | null;
  required: boolean;
  /** The `default` of the schema. */
  initial: unknown;
}

export type Field = Base &
  (
    | { kind: 'switch' }
    | { kind: 'number'; integer: boolean; min: number | null; max: number | null; step: number | 'any' }
    | { kind: 'slider'; integer: boolean; min: number; max: number; step: number }
    | { kind: 'select'; options: readonly (string | number | boolean | null)[] }
    | { kind: 'text'; minLength: number | null; maxLength: number | null; pattern: string | null }
    | { kind: 'json' }
  );

type Schema = Record<string, unknown>;

const isObject = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const asNumber = (value: unknown): number | null => (typeof value === 'number' ? value : null);
const asText = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/** The fields of an object schema, in the order of its properties. */
export function fieldsOf(schema: unknown): Field[] {
  if (!isObject(schema) || !isObject(schema.properties)) return [];
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(schema.properties).map(([name, property]) =>
    fieldOf(name, isObject(property) ? property : {}, required.includes(name))
  );
}

function fieldOf(name: string, schema: Schema, required: boolean): Field {
  const base: Base = {
    name,
    label: asText(schema.title) ?? name.replaceAll(/[-_]+/g, ' '),
    description: asText(schema.description),
    required,
    initial: schema.default
  };
  if ('const' in schema) return { ...base, kind: 'select', options: [schema.const as string] };
  if (Array.isArray(schema.enum)) return { ...base, kind: 'select', options: schema.enum };
  switch (typeOf(schema)) {
    case 'boolean':
      return { ...base, kind: 'switch' };
    case 'integer':
      return { ...base, ...numeric(schema, true) };
    case 'number':
      return { ...base, ...numeric(schema, false) };
    case 'string':
      return {
        ...base,
        kind: 'text',
        minLength: asNumber(schema.minLength),
        maxLength: asNumber(schema.maxLength),
        pattern: asText(schema.pattern)
      };
    default:
      return { ...base, kind: 'json' };
  }
}

/** `["integer", "null"]` is an optional integer. */
function typeOf(schema: Schema): unknown {
  const { type } = schema;
  if (!Array.isArray(type)) return type;
  const real = type.filter((one) => one !== 'null');
  return real.length === 1 ? real[0] : undefined;
}

function numeric(schema: Schema, integer: boolean) {
  const unit = integer ? 1 : null;
  const multiple = asNumber(schema.multipleOf) ?? unit;
  // An exclusive bound of an integer is the next integer; of a fraction there is none, so the hub checks it.
  const above = asNumber(schema.exclusiveMinimum);
  const below = asNumber(schema.exclusiveMaximum);
  const min = asNumber(schema.minimum) ?? (above === null ? null : above + (unit ?? 0));
  const max = asNumber(schema.maximum) ?? (below === null ? null : below - (unit ?? 0));
  if (min !== null && max !== null && min < max) {
    return { kind: 'slider', integer, min, max, step: multiple ?? stepBetween(min, max) } as const;
  }
  return { kind: 'number', integer, min, max, step: multiple ?? 'any' } as const;
}

/** About a hundred to a thousand steps; a step is a power of ten. */
function stepBetween(min: number, max: number): number {
  return 10 ** (Math.floor(Math.log10(max - min)) - 2);
}

/** The values of the form; `undefined`: left out. */
export type Values = Record<string, unknown>;

/** Initial values: the state of the module, else the default, else "off" for a required switch. */
export function initialValues(fields: readonly Field[], state: unknown): Values {
  const reported = isObject(state) ? state : {};
  const values: Values = {};
  for (const field of fields) {
    const known = field.name in reported ? reported[field.name] : field.initial;
    if (known !== undefined && fits(field, known))
      values[field.name] = field.kind === 'json' ? JSON.stringify(known) : known;
    else if (field.kind === 'switch' && field.required) values[field.name] = false;
    else if (field.kind === 'select' && field.required) values[field.name] = field.options[0];
    else if (field.kind === 'slider' && field.required) values[field.name] = field.min;
  }
  return values;
}

function fits(field: Field, value: unknown): boolean {
  switch (field.kind) {
    case 'switch':
      return typeof value === 'boolean';
    case 'number':
    case 'slider':
      return typeof value === 'number';
    case 'select':
      return field.options.includes(value as string);
    case 'text':
      return typeof value === 'string';
    case 'json':
      return true;
  }
}

export interface FormResult {
  params: Values;
  /** By name of the field: why its value cannot be sent. */
  errors: Record<string, string>;
}

/** The params of the command. The hub checks them again; this only saves the round trip. */
export function paramsOf(fields: readonly Field[], values: Values): FormResult {
  const params: Values = {};
  const errors: Record<string, string> = {};
  for (const field of fields) {
    const value = values[field.name];
    if (
      value === undefined ||
      (value === '' && field.kind !== 'select' && !(field.kind === 'text' && field.required))
    ) {
      if (field.required) errors[field.name] = 'Required';
      continue;
    }
    try {
      params[field.name] = field.kind === 'json' ? JSON.parse(String(value)) : value;
    } catch {
      errors[field.name] = 'Not valid JSON';
      continue;
    }
    const error = errorOf(field, value);
    if (error) errors[field.name] = error;
  }
  return { params, errors };
}

function errorOf(field: Field, value: unknown): string | null {
  if (field.kind === 'number' || field.kind === 'slider') {
    if (typeof value !== 'number' || !Number.isFinite(value)) return 'Enter a number';
    if (field.integer && !Number.isInteger(value)) return 'Enter a whole number';
    if (field.min !== null && value < field.min) return `At least ${field.min}`;
    if (field.max !== null && value > field.max) return `At most ${field.max}`;
  }
  if (field.kind === 'text') {
    const length = [...String(value)].length;
    if (field.minLength !== null && length < field.minLength) return `At least ${field.minLength} characters`;
    if (field.maxLength !== null && length > field.maxLength) return `At most ${field.maxLength} characters`;
  }
  return null;
}

/** The two fields that make an action a lamp, or `null` when it is not a lamp. */
export function lampFieldsOf(schema: unknown): { on: Field; brightness: Field & { kind: 'slider' } } | null {
  const fields = fieldsOf(schema);
  const on = fields.find((field) => field.name === 'on');
  const brightness = fields.find((field) => field.name === 'brightness');
  if (on?.kind !== 'switch' || brightness?.kind !== 'slider') return null;
  // With a third required value, two controls are not enough.
  if (fields.some((field) => field.required && field !== on && field !== brightness)) return null;
  return { on, brightness };
}
