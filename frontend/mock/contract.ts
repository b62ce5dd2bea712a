/**
 * The contract of every response of a hub: the schemas of `openapi.json`, and the order that docs/ref/api.md
 * promises. The real hub, the mock and the responses of unit tests are checked against it, so that none of
 * them can differ.
 */
import { readFileSync } from 'node:fs';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Schema = { [name: string]: Json };

interface Operation {
  responses: Record<string, { content?: Record<string, { schema: Schema }> }>;
}

const REPOSITORY = new URL('../../', import.meta.url);
const read = (path: string) => JSON.parse(readFileSync(new URL(path, REPOSITORY), 'utf8'));

const openapi: { paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, Schema> } } =
  read('openapi.json');
/** One message of each kind, as the hub and its client write them. */
const golden: { client: Schema[]; hub: Schema[] } = read('iotpi-hub/tests/golden/live.json');

const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
ajv.addSchema({
  $id: 'openapi',
  components: {
    schemas: Object.fromEntries(
      Object.entries(openapi.components.schemas).map(([name, schema]) => [name, openObjects(schema)])
    )
  }
});

/**
 * Makes references absolute. A schema that is part of another one may not be closed alone; `unknownFields`
 * checks for unknown fields instead.
 */
function openObjects(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(openObjects);
  if (typeof schema !== 'object' || schema === null) return schema;
  const { $ref, additionalProperties, ...rest } = schema;
  const open: Schema = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, openObjects(value)]));
  if (typeof $ref === 'string') open.$ref = `openapi${$ref}`;
  // `false` would also forbid the fields of a sibling schema; `unknownFields` finds unknown fields.
  if (additionalProperties !== undefined && additionalProperties !== false)
    open.additionalProperties = openObjects(additionalProperties);
  return open;
}

const validators = new Map<string, ValidateFunction>();

function validatorOf(schema: Schema): ValidateFunction {
  const key = JSON.stringify(schema);
  const known = validators.get(key) ?? ajv.compile(openObjects(schema) as Schema);
  validators.set(key, known);
  return known;
}

const resolved = (schema: Schema): Schema =>
  typeof schema.$ref === 'string'
    ? resolved(openapi.components.schemas[schema.$ref.replace('#/components/schemas/', '')] as Schema)
    : schema;

/** All properties that a value of this schema may have; `null` when it may have any. */
function propertiesOf(schema: Schema, value: Schema): Map<string, Schema[]> | null {
  const resolvedSchema = resolved(schema);
  const found = new Map<string, Schema[]>();
  let any = resolvedSchema.additionalProperties !== undefined && resolvedSchema.additionalProperties !== false;
  const add = (name: string, one: Schema) => found.set(name, [...(found.get(name) ?? []), one]);
  for (const [name, one] of Object.entries((resolvedSchema.properties as Record<string, Schema> | undefined) ?? {}))
    add(name, one);
  const choices = [resolvedSchema.oneOf, resolvedSchema.anyOf].flatMap((one) => (one as Schema[] | undefined) ?? []);
  // Of several alternatives the one that fits applies.
  const parts = [
    ...((resolvedSchema.allOf as Schema[] | undefined) ?? []),
    ...choices.filter((one) => validatorOf(one)(value))
  ];
  for (const part of parts) {
    const of = propertiesOf(part, value);
    if (of === null) any = true;
    else for (const [name, all] of of) for (const one of all) add(name, one);
  }
  return any || (found.size === 0 && parts.length === 0) ? null : found;
}

/** Fields that are not in the schema, at any depth. */
function unknownFields(schema: Schema, value: Json, place: string): string[] {
  if (Array.isArray(value)) {
    const resolvedSchema = resolved(schema);
    const options = [
      resolvedSchema,
      ...[resolvedSchema.oneOf, resolvedSchema.anyOf].flatMap((one) => (one as Schema[] | undefined) ?? [])
    ];
    const items = options.map((one) => resolved(one).items).find((one) => one !== undefined);
    return items ? value.flatMap((one, at) => unknownFields(items as Schema, one, `${place}/${at}`)) : [];
  }
  if (typeof value !== 'object' || value === null) return [];
  const known = propertiesOf(schema, value);
  if (known === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const [first] = known.get(name) ?? [];
    return first ? unknownFields(first, inner, `${place}/${name}`) : [`${place}/${name} is not a known field`];
  });
}

function shapeErrors(schema: Schema, value: Json): string[] {
  const validate = validatorOf(schema);
  if (!validate(value)) return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
  return unknownFields(schema, value, '');
}

/** Checks a value against a schema of `openapi.json`. */
export const schemaErrors = (name: string, value: unknown): string[] =>
  shapeErrors({ $ref: `#/components/schemas/${name}` }, value as Json);

type By = (item: never) => number | string;
const ORDERS: readonly { path: RegExp; bucket?: boolean; ascending: boolean; by: By; then?: By }[] = [
  { path: /^\/api\/modules$/, ascending: true, by: (one: { id: string }) => one.id },
  { path: /^\/api\/cameras$/, ascending: true, by: (one: { module_id: string }) => one.module_id },
  {
    path: /^\/api\/sensors$/,
    ascending: true,
    by: originOf
  },
  {
    path: /^\/api\/sensors\/[^/]+$/,
    bucket: true,
    ascending: true,
    by: (one: { start: number }) => one.start,
    then: originOf
  },
  {
    path: /^\/api\/sensors\/[^/]+$/,
    bucket: false,
    ascending: false,
    by: (one: { timestamp: number }) => one.timestamp,
    then: originOf
  },
  { path: /^\/api\/gaps$/, ascending: true, by: (one: { since: number }) => one.since },
  {
    path: /^\/api\/modules\/[^/]+\/commands\/history$/,
    ascending: false,
    by: (one: { created_at: number }) => one.created_at
  },
  { path: /^\/api\/cameras\/[^/]+\/recordings$/, ascending: true, by: (one: { begun_at: number }) => one.begun_at },
  { path: /^\/api\/cameras\/[^/]+\/recordings\/frames$/, ascending: true, by: (one: number) => one }
];

interface Origin {
  module_id: string;
  type?: string | null;
  channel?: string;
}

/** Module, type and channel; the separator comes before every character of an id. */
function originOf({ module_id, type, channel }: Origin): string {
  return [module_id, type, channel ?? ''].join('\n');
}

function orderErrors(url: URL, items: readonly never[]): string[] {
  const bucketed = url.searchParams.has('bucket');
  const order = ORDERS.find(({ path, bucket = bucketed }) => path.test(url.pathname) && bucket === bucketed);
  if (!order || url.searchParams.get('order') === 'asc') return [];
  const keys = items.map(order.by);
  const ties = items.map(order.then ?? (() => 0));
  const index = items.findIndex((_, at) => {
    if (at === 0) return false;
    const [earlier, later] = order.ascending ? [at - 1, at] : [at, at - 1];
    const [a, b] = keys[earlier] === keys[later] ? [ties[earlier], ties[later]] : [keys[earlier], keys[later]];
    return a !== undefined && b !== undefined && b < a;
  });
  const direction = order.ascending ? 'ascending' : 'descending';
  return index === -1
    ? []
    : [`/items/${index}: ${String(keys[index])} is not ${direction} after ${String(keys[index - 1])}`];
}

/** A query with `module_id` or `channel` selects only items of these; an empty channel is the default one. */
function selectionErrors(url: URL, items: readonly Origin[]): string[] {
  if (!/^\/api\/(sensors(\/[^/]+)?|gaps)$/.test(url.pathname)) return [];
  const [moduleId, channel] = [url.searchParams.get('module_id'), url.searchParams.get('channel')];
  return items.flatMap((one, at) => {
    const isOther = channel !== null && one.type != null && (one.channel ?? '') !== channel;
    if (moduleId !== null && one.module_id !== moduleId) return [`/items/${at} is of another module`];
    return isOther ? [`/items/${at} is of another channel`] : [];
  });
}

/** A page has at most `limit` items. */
function pageErrors(url: URL, { length }: readonly unknown[]): string[] {
  const limit = Number(url.searchParams.get('limit') ?? 100);
  return length > limit ? [`${length} items, and ${limit} were asked for`] : [];
}

function operationOf(method: string, path: string): Operation | undefined {
  const known = Object.entries(openapi.paths).find(([template]) =>
    new RegExp(`^${template.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`).test(path)
  );
  return known?.[1][method.toLowerCase()];
}

/** The errors of a response, one sentence each; none when a hub may send it. */
export function responseErrors(method: string, url: URL, status: number, body: unknown): string[] {
  const operation = operationOf(method, url.pathname);
  if (!operation) return [`${method} ${url.pathname} is not a route`];
  if (status >= 400) return schemaErrors('Problem', body);
  const declared = operation.responses[String(status)];
  if (!declared) return [`${status} is not a declared status of ${method} ${url.pathname}`];
  const schema = declared.content?.['application/json']?.schema;
  if (!schema) return body === undefined ? [] : [`${status} has no body`];
  const errors = shapeErrors(schema, body as Json);
  if (errors.length > 0) return errors;
  const { items } = body as { items?: never[] };
  return Array.isArray(items)
    ? [...orderErrors(url, items), ...selectionErrors(url, items), ...pageErrors(url, items)]
    : [];
}

/** The schema of a message's payload, by the name of its field. */
const PAYLOADS: Readonly<Record<string, string>> = {
  readings: 'Reading',
  modules: 'ModuleInfo',
  cameras: 'CameraInfo',
  reading: 'Reading',
  module: 'ModuleInfo',
  camera: 'CameraInfo',
  command: 'Command',
  problem: 'Problem'
};

/**
 * The errors of a live message sent by the hub or by its client (`hub`, `client`): its fields are those of
 * the golden message of the same type, and its payload is that of the HTTP API.
 */
export function messageErrors(from: 'hub' | 'client', message: Schema): string[] {
  const alike = golden[from].filter(({ type }) => type === message.type);
  if (alike.length === 0) return [`${String(message.type)} is not a message of the ${from}`];
  const fields = new Map(alike.flatMap((one) => Object.entries(one)));
  const errors = Object.entries(message).flatMap(([name, value]) => {
    const known = fields.get(name);
    if (known === undefined) return [`${name} is not a known field`];
    if (Array.isArray(known) !== Array.isArray(value) || typeof known !== typeof value)
      return [`${name} has another type`];
    const schema = from === 'hub' ? PAYLOADS[name] : undefined;
    if (!schema) return [];
    return (Array.isArray(value) ? value : [value]).flatMap((one) => schemaErrors(schema, one));
  });
  if (from === 'hub') for (const name of fields.keys()) if (!(name in message)) errors.push(`${name} is missing`);
  return errors;
}
