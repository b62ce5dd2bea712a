/** The mock hub: recorded responses moved to the present, with simulated readings and commands. */
import type {
  Bucket,
  CameraInfo,
  Caller,
  Command,
  Gap,
  Module,
  NewCommand,
  Page,
  Reading,
  Role,
  StorageReport
} from '../src/lib/api/types';
import type { LiveEvent } from '../src/lib/live/protocol';
import { aSecondLater, withDefaults, withViewers } from './cameras.ts';
import { MockRecordings } from './recordings.ts';
import { type Fixture, type MockResponse, ok, pageOf, problem } from './responses.ts';
import { MockStorage } from './storage.ts';
import { generatedBuckets } from './buckets.ts';

type Listener = (event: LiveEvent) => void;

const ROLES: readonly Role[] = ['viewer', 'operator', 'admin'];
const MAX_READINGS = 1000;
/** The one-time code of the mock. */
export const FIRST_ADMIN_CODE = 'mock-code';

export class MockHub {
  #modules: Module[] = [];
  #cameras: CameraInfo[] = [];
  #newest: Reading[] = [];
  #gaps: Gap[] = [];
  readonly recordings = new MockRecordings();
  readonly #startedAt = now();
  readonly #storage: MockStorage | null;
  readonly #keys = new Map<string, string>();
  readonly #minutes = new Map<string, Bucket[]>();
  /** By series, oldest first: the recorded hour, then the simulated readings since the start. */
  readonly #readings = new Map<string, Reading[]>();
  readonly #commands = new Map<string, Command>();
  readonly #listeners = new Set<Listener>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #seq = 0;
  #needsFirstAdmin: boolean;

  constructor(fixtures: readonly Fixture[], needsFirstAdmin: boolean) {
    this.#needsFirstAdmin = needsFirstAdmin;
    for (const fixture of fixtures) this.#load(fixture);
    const reports = fixtures.map(({ recorded_at, answers }) =>
      moveTimes(answers['GET /api/storage'], now() - recorded_at)
    );
    const report = reports.findLast((one) => one !== undefined) as StorageReport | undefined;
    this.#storage = report ? new MockStorage(report) : null;
  }

  start(): void {
    this.#timers.add(setInterval(() => this.#tick(), 1000));
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  /** The caller of a session cookie: the mock's cookies are names. */
  callerOf(session: string | undefined): Caller | null {
    if (!session || this.#needsFirstAdmin) return null;
    return { name: session, role: ROLES.find((role) => role === session) ?? 'admin' };
  }

  /** `key` is the request's `Idempotency-Key`. */
  respond(method: string, url: URL, body: unknown, session: string | undefined, key?: string): MockResponse {
    const path = url.pathname;
    if (path.startsWith('/api/auth/')) return this.#auth(path, body, session);
    const caller = this.callerOf(session);
    if (!caller) return problem(401, 'unauthenticated', 'log in first');
    const [, first, second, third, fourth] = path.split('/').filter(Boolean);
    if (method === 'GET' && first === 'modules' && !second) return pageOf(this.#modules, url);
    if (method === 'GET' && first === 'cameras' && !second)
      return pageOf(
        this.#cameras.map((camera) => withViewers(camera, this.#startedAt)).sort(by(({ module_id }) => module_id)),
        url
      );
    if (first === 'cameras' && second) {
      const below = path.split('/').slice(4).join('/');
      const response = this.recordings.respond(method, decodeURIComponent(second), below, url, body, caller.role);
      if (response) return response;
    }
    if (method === 'GET' && first === 'gaps') return pageOf(this.#gapsOf(url), url);
    if (first === 'storage' && this.#storage) {
      if (method === 'GET') return ok(this.#storage.report());
      if (caller.role !== 'admin') return problem(403, 'permission_denied', 'this is for admins');
      return this.#storage.respond(second, body);
    }
    if (method === 'GET' && first === 'sensors')
      return second ? this.#history(second, url) : pageOf(this.#newest.toSorted(by(order)), url);
    if (method === 'GET' && first === 'commands' && second) {
      const command = this.#commands.get(second);
      return command ? ok(command) : problem(404, 'not_found', 'no such command');
    }
    if (method === 'POST' && first === 'commands' && second && third === 'cancel') return this.#cancel(second);
    if (first === 'modules' && second && third === 'commands' && fourth === 'history') {
      const commands = [...this.#commands.values()].filter((command) => command.module_id === second);
      return pageOf(
        commands.sort((a, b) => b.created_at - a.created_at),
        url
      );
    }
    if (method === 'POST' && first === 'modules' && second && third === 'control') {
      if (caller.role === 'viewer') return problem(403, 'permission_denied', 'a viewer may not send commands');
      const known = key && this.#commands.get(this.#keys.get(key) ?? '');
      return known ? ok(known) : this.#control(second, body as NewCommand, caller, key);
    }
    return problem(404, 'not_found', `the mock does not know ${method} ${path}`);
  }

  /** Sends `hello`, and then all events until the returned function is called. */
  listen(listener: Listener): () => void {
    listener({ type: 'hello', hub_time: now(), version: 'mock' });
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether the camera sends no frames. */
  isLost(moduleId: string): boolean {
    return this.#cameras.find(({ module_id }) => module_id === moduleId)?.online !== true;
  }

  snapshot(recent: number): LiveEvent {
    const readings = this.#newest.flatMap((newest) => {
      const kept = this.#readings.get(key(newest)) ?? [];
      return kept.length > 0 ? kept.slice(-recent) : [newest];
    });
    return { type: 'recent', seq: this.#seq, readings, modules: this.#modules, cameras: this.#cameras };
  }

  #load({ recorded_at, answers }: Fixture): void {
    const moved = moveTimes(answers, now() - recorded_at) as Record<string, Page<never>>;
    // A later fixture replaces modules of an earlier one.
    const modules: Module[] = moved['GET /api/modules']?.items ?? [];
    const moduleIds = new Set(modules.map(({ id }) => id));
    this.#modules = [...this.#modules.filter(({ id }) => !moduleIds.has(id)), ...modules];
    this.#modules.sort((a: Module, b: Module) => a.id.localeCompare(b.id));
    this.#newest.push(...(moved['GET /api/sensors']?.items ?? []));
    this.#cameras.push(...(moved['GET /api/cameras']?.items ?? []).map(withDefaults));
    this.#gaps.push(...(moved['GET /api/gaps']?.items ?? []));
    for (const [line, page] of Object.entries(moved)) {
      const buckets: Bucket[] = line.includes('bucket=') ? page.items : [];
      if (!buckets[0]) continue;
      this.#minutes.set(key(buckets[0]), buckets);
      this.#readings.set(key(buckets[0]), buckets.flatMap(readingsOf));
    }
  }

  #auth(path: string, body: unknown, session: string | undefined): MockResponse {
    const given = (body ?? {}) as { code?: string; name?: string };
    const loggedIn = (name: string): MockResponse => ({
      status: 200,
      body: { caller: this.callerOf(name), needs_first_admin: false },
      session: name
    });
    switch (path) {
      case '/api/auth/session':
        return ok({ caller: this.callerOf(session), needs_first_admin: this.#needsFirstAdmin });
      case '/api/auth/first-admin':
        if (!this.#needsFirstAdmin) return problem(409, 'conflict', 'this hub has its first admin');
        if (given.code !== FIRST_ADMIN_CODE)
          return problem(403, 'permission_denied', "This code is not valid. Use the newest code in the hub's log.");
        this.#needsFirstAdmin = false;
        return loggedIn(given.name ?? 'admin');
      case '/api/auth/login':
        return loggedIn(given.name ?? 'admin');
      case '/api/auth/logout':
        return { status: 204, body: undefined, session: '' };
      default:
        return problem(404, 'not_found', `the mock does not know ${path}`);
    }
  }

  #history(type: string, url: URL): MockResponse {
    const since = Number(url.searchParams.get('since') ?? 0);
    const until = Number(url.searchParams.get('until') ?? now());
    const width = url.searchParams.get('bucket');
    const isSelected = (one: Origin) => one.type === type && selects(url, one);
    if (!width) {
      const readings = this.#newest
        .filter(isSelected)
        .flatMap((newest) => this.#readings.get(key(newest)) ?? [])
        .filter(({ timestamp }) => timestamp >= since && timestamp < until)
        .sort((a, b) => a.timestamp - b.timestamp || by(order)(a, b));
      return pageOf(url.searchParams.get('order') === 'asc' ? readings : readings.reverse(), url);
    }
    const buckets = [...this.#minutes.values()]
      .filter(([first]) => first && isSelected(first))
      .flatMap((minutes) => bucketsOf(minutes, width, since, until))
      .sort((a, b) => a.start - b.start || by(order)(a, b));
    return pageOf(
      buckets.map((one) => withAggregates(one, url.searchParams.get('agg'))),
      url,
      2000
    );
  }

  #gapsOf(url: URL): Gap[] {
    const { module_id, type, since = 0 } = Object.fromEntries(url.searchParams);
    // A gap of an unknown series may be one of every series.
    const matches = (gap: Gap) =>
      gap.type == null
        ? module_id === undefined || gap.module_id === module_id
        : (type === undefined || gap.type === type) && selects(url, gap);
    return this.#gaps.filter((gap) => matches(gap) && gap.until >= Number(since)).sort((a, b) => a.since - b.since);
  }

  #control(moduleId: string, request: NewCommand, caller: Caller, key?: string): MockResponse {
    const module = this.#modules.find(({ id }) => id === moduleId);
    if (!module) return problem(404, 'not_found', `There is no module \`${moduleId}\`.`);
    const declared = module.manifest?.actions?.some(({ name }) => name === request.action);
    if (!declared) return problem(422, 'unprocessable', `${moduleId} does not offer ${request.action}`);
    const created_at = now();
    const command: Command = {
      id: crypto.randomUUID(),
      module_id: moduleId,
      action: request.action,
      params: request.params ?? {},
      state: 'queued',
      issued_by: caller.name,
      created_at,
      expires_at: created_at + (request.expires_in ?? 60),
      leased_at: null,
      started_at: null,
      finished_at: null,
      attempts: 0,
      result: null,
      error: null,
      superseded_by: null
    };
    if (key) this.#keys.set(key, command.id);
    this.#update(command, {});
    if (module.health !== 'offline') this.#after(250, () => this.#carryOut(command.id));
    return ok(command);
  }

  #carryOut(id: string): void {
    const command = this.#commands.get(id);
    if (command?.state !== 'queued') return;
    this.#update(command, { state: 'leased', leased_at: now(), attempts: 1 });
    this.#after(500, () => {
      const leased = this.#commands.get(id) as Command;
      const params = (command.params ?? {}) as Record<string, unknown>;
      if (params.text === 'power') {
        const error = 'the module was restarted while it ran the command';
        this.#update(leased, { state: 'unknown_outcome', started_at: now(), finished_at: now(), error });
        return;
      }
      if (params.text === 'fail') {
        this.#update(leased, { state: 'failed', finished_at: now(), error: 'the display did not respond' });
        return;
      }
      const module = this.#modules.find((one) => one.id === command.module_id) as Module;
      const state = { ...(module.state as object | null), ...params };
      this.#updateModule({ ...module, state, state_at: now(), last_seen_at: now() });
      this.#update(leased, { state: 'succeeded', finished_at: now(), result: state });
    });
  }

  #cancel(id: string): MockResponse {
    const command = this.#commands.get(id);
    if (!command) return problem(404, 'not_found', 'no such command');
    if (command.state !== 'queued') return problem(409, 'conflict', `the command is ${command.state}`);
    return ok(this.#update(command, { state: 'cancelled', finished_at: now() }));
  }

  #update(command: Command, change: Partial<Command>): Command {
    const changed = { ...command, ...change };
    this.#commands.set(changed.id, changed);
    this.#emit({ type: 'command', seq: ++this.#seq, command: changed });
    return changed;
  }

  #updateModule(module: Module): void {
    this.#modules = this.#modules.map((one) => (one.id === module.id ? module : one));
    this.#emit({ type: 'module', seq: ++this.#seq, module });
  }

  /** Simulates one second: online modules measure, cameras send frames, old commands expire. */
  #tick(): void {
    this.#newest = this.#newest.map((before) => this.#measure(before));
    this.#cameras = this.#cameras.map((camera) => {
      const after = aSecondLater(camera);
      if (after !== camera) this.#emit({ type: 'camera', seq: ++this.#seq, camera: after });
      return after;
    });
    for (const module of this.#modules) if (module.health === 'online') module.last_seen_at = now();
    for (const command of this.#commands.values()) {
      if (command.state === 'queued' && command.expires_at < now()) {
        this.#update(command, { state: 'expired', finished_at: now() });
      }
    }
  }

  #measure(before: Reading): Reading {
    const reading = { ...before, value: this.#next(before), timestamp: now(), received_at: now() };
    const series = this.#readings.get(key(reading)) ?? [];
    series.push(reading);
    if (series.length > MAX_READINGS) series.shift();
    this.#readings.set(key(reading), series);
    this.#emit({ type: 'reading', seq: ++this.#seq, reading });
    return reading;
  }

  /** A random walk around the last recorded minute, within about the range of that minute. */
  #next(before: Reading): number | null {
    if (before.value === null) return null;
    if (before.type === 'uptime') return before.value + 1;
    const recorded = this.#minutes.get(key(before))?.findLast(({ avg }) => avg != null);
    const mean = recorded?.avg ?? before.value;
    const range = recorded?.max != null && recorded.min != null ? recorded.max - recorded.min : Math.abs(mean) / 100;
    return before.value + (mean - before.value) * 0.1 + (Math.random() - 0.5) * range * 0.2;
  }

  #after(milliseconds: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, milliseconds);
    this.#timers.add(timer);
  }

  #emit(event: LiveEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

const now = (): number => Date.now() / 1000;
const by =
  <Item>(name: (item: Item) => string) =>
  (a: Item, b: Item): number =>
    name(a) < name(b) ? -1 : 1;

/** The series that an item belongs to. */
interface Origin {
  module_id: string;
  type?: string | null;
  channel?: string | null;
}

const key = ({ module_id, type, channel }: Origin): string => `${module_id}/${type}/${channel ?? ''}`;

/** By module, type and channel, as the hub orders them: the separator comes before every character of an id. */
const order = ({ module_id, type, channel }: Origin): string => [module_id, type, channel ?? ''].join('\n');

/** Whether a query selects the module and channel. Without `channel` it selects all, with an empty one the default. */
function selects(url: URL, { module_id, channel }: Origin): boolean {
  const [onlyModule, onlyChannel] = [url.searchParams.get('module_id'), url.searchParams.get('channel')];
  return (onlyModule ?? module_id) === module_id && (onlyChannel ?? channel ?? '') === (channel ?? '');
}

/** The buckets of one series, oldest first. Only an hour was recorded; those before it are generated. */
function bucketsOf(minutes: readonly Bucket[], width: string, since: number, until: number): Bucket[] {
  const recorded = width === '1m' ? minutes.filter(({ start }) => start + 60 > since && start < until) : [];
  return [...generatedBuckets(minutes, width, since, recorded[0]?.start ?? until), ...recorded];
}

/** Only the requested aggregates. */
function withAggregates(bucket: Bucket, agg: string | null): Bucket {
  const requested = agg?.split(',') ?? ['avg', 'min', 'max', 'count'];
  const fields = Object.entries(bucket).filter(([name]) => !AGGREGATES.includes(name) || requested.includes(name));
  return Object.fromEntries(fields) as Bucket;
}

const AGGREGATES: readonly string[] = ['avg', 'min', 'max', 'count'];

/** Readings that fit a minute's aggregate. */
function readingsOf({ module_id, type, channel, unit, start, avg, min, max, count }: Bucket): Reading[] {
  const many = Math.max(count ?? 0, 1);
  return Array.from({ length: many }, (_, at) => {
    const timestamp = start + (60 * at) / many;
    const value = avg == null ? null : avg + (Math.random() - 0.5) * ((max ?? avg) - (min ?? avg)) * 0.5;
    return { module_id, type, channel, unit, value, timestamp, received_at: timestamp };
  }).filter(({ timestamp }) => timestamp < now());
}

const TIMES: readonly string[] = ['timestamp', 'start', 'since', 'until', 'at'];

/** Moves every Unix time of a response: fields that end in `_at`, and those of `TIMES`. */
function moveTimes(value: unknown, by: number): unknown {
  if (Array.isArray(value)) return value.map((one) => moveTimes(one, by));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) =>
      typeof inner === 'number' && (name.endsWith('_at') || TIMES.includes(name))
        ? [name, inner + by]
        : [name, moveTimes(inner, by)]
    )
  );
}
