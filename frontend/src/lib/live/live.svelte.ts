import { SvelteMap } from 'svelte/reactivity';
import type { CameraInfo, Command, Module, Reading } from '../api/types';
import { backoffMs } from './backoff';
import { Commands } from './commands.svelte';
import { FrameSubscriptions } from './frame-subscriptions.svelte';
import {
  type ClientMessage,
  type LiveEvent,
  type LiveSocket,
  MAX_RECENT_READINGS,
  type OpenSocket,
  openWebSocket,
  POLICY_VIOLATION
} from './protocol';
import { Series } from './series.svelte';
import { ConnectionWatchdog } from './watchdog';
import { TimeSync } from './timesync';

/** How many of the newest readings of each series a (re)connect brings: a short break needs no history request. */
const RECENT = 60;
/**
 * Readings are taken together after this time: the page is brought up to date once for all of them, not once for each of
 * hundreds a second.
 */
const GATHER_MS = 50;

/** `silent`: the connection stands, and the hub has not answered a question on it. `lost`: it is being opened again. */
export type LiveState = 'connecting' | 'live' | 'unresponsive' | 'lost';

export interface LiveOptions {
  url: string;
  /** Asks the hub for one command; used after seriesGaps. */
  fetchCommand: (id: string) => Promise<Command>;
  open?: OpenSocket;
  random?: () => number;
  /** A connection ended before the hub said a word, or because the session is over. */
  onRejected?: () => void;
}

/**
 * The hub's present, kept up to date over one WebSocket for as long as it is started.
 *
 * It never queues what it sends (commands go over HTTP), and after a loss it trusts what the hub says, not what it knew.
 */
export class Live {
  state = $state<LiveState>('connecting');
  /** While `silent`: seconds since the last message, by our clock. */
  unresponsiveSecs = $state<number | null>(null);
  /** How far the hub's clock is ahead of ours, in seconds. */
  skewSecs = $state(0);
  /** How wrong that can be, in seconds; `null` while it only comes from the hub's greeting. */
  skewErrorSecs = $state<number | null>(null);
  /** How many events were dropped for us, in all. */
  missed = $state(0);
  /** How many times the connection came to be live. */
  connections = $state(0);
  hubVersion = $state<string | null>(null);
  /** Whether the hub has told its present at least once. */
  known = $state(false);

  readonly modules = new SvelteMap<string, Module>();
  /** By {@link seriesKey}. */
  readonly series = new SvelteMap<string, Series>();
  readonly cameras = new SvelteMap<string, CameraInfo>();
  readonly commands: Commands;
  /** What the cameras see. */
  readonly frames = new FrameSubscriptions();

  readonly #url: string;
  readonly #open: OpenSocket;
  readonly #random: () => number;
  readonly #onRejected: () => void;
  readonly #time = new TimeSync((client_time) => this.#say({ type: 'time', client_time }));
  readonly #watchdog = new ConnectionWatchdog({
    probe: () => this.#say({ type: 'time', client_time: Date.now() / 1000 }),
    isWatching: () => this.frames.expectsFrames,
    onUnresponsive: (secs) => this.#takeSilence(secs),
    onLost: () => this.#lost()
  });
  #gathered: Reading[] = [];
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #socket: LiveSocket | null = null;
  #attempt = 0;
  #greeted = false;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LiveOptions) {
    this.#url = options.url;
    this.#open = options.open ?? openWebSocket;
    this.#random = options.random ?? Math.random;
    this.#onRejected = options.onRejected ?? (() => {});
    this.commands = new Commands(options.fetchCommand);
  }

  /** The hub does not answer: what is shown is as old as it says, and may have changed since. */
  get hubUnreachable(): boolean {
    return this.state === 'unresponsive' || this.state === 'lost';
  }

  /** Connects and stays connected; call the returned function to end everything. */
  start(): () => void {
    this.state = 'connecting';
    this.#connect();
    return () => this.#stop();
  }

  /** Tries again now instead of when the back-off ends: the network is back, or somebody looks at the page again. */
  retryNow(): void {
    if (this.#retry === undefined) return;
    this.#attempt = 0;
    this.#connect();
  }

  /** The series, made if it is new. */
  seriesOf(moduleId: string, type: string): Series {
    const key = seriesKey(moduleId, type);
    let series = this.series.get(key);
    if (!series) {
      series = new Series(moduleId, type);
      this.series.set(key, series);
    }
    return series;
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#greeted = false;
    const socket = this.#open(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#subscribe(RECENT);
      this.#time.start();
    };
    socket.onmessage = ({ data }) => {
      const picture = data instanceof ArrayBuffer;
      this.#watchdog.messageReceived(picture);
      if (picture) this.frames.take(data);
      else this.#take(JSON.parse(String(data)) as LiveEvent);
    };
    socket.onclose = (event) => this.#lost(event?.code === POLICY_VIOLATION);
    this.#watchdog.start();
  }

  #subscribe(recent: number): void {
    this.#say({ type: 'subscribe', recent });
  }

  #say(message: ClientMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  #takeSilence(secs: number | null): void {
    this.unresponsiveSecs = secs;
    if (secs !== null && this.state === 'live') this.state = 'unresponsive';
    else if (secs === null && this.state === 'unresponsive') this.state = 'live';
  }

  #lost(revoked = false): void {
    const refused = revoked || !this.#greeted;
    this.#hangUp();
    this.state = 'lost';
    this.commands.startPolling();
    this.#retry = setTimeout(() => this.#connect(), backoffMs(this.#attempt, this.#random));
    this.#attempt += 1;
    if (refused) this.#onRejected();
  }

  #hangUp(): void {
    this.#takeGathered();
    this.#watchdog.stop();
    this.#time.stop();
    this.frames.detach();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #stop(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.commands.stopPolling();
    this.#hangUp();
  }

  #take(event: LiveEvent): void {
    if (event.type === 'reading') return this.#gather(event.reading);
    // Events keep their order: no reading may come after the removal of its module.
    this.#takeGathered();
    switch (event.type) {
      case 'hello':
        this.#greeted = true;
        this.skewSecs = event.hub_time - Date.now() / 1000;
        this.skewErrorSecs = null;
        this.hubVersion = event.version;
        break;
      case 'recent':
        this.#takePresent(event.readings, event.modules, event.cameras);
        break;
      case 'module':
        this.modules.set(event.module.id, event.module);
        break;
      case 'module_removed':
        this.#forgetModule(event.module_id);
        break;
      case 'command':
        this.commands.put(event.command);
        break;
      case 'camera':
        this.cameras.set(event.camera.module_id, event.camera);
        break;
      case 'resync':
        this.missed += event.missed;
        this.commands.refresh();
        break;
      case 'time':
        this.#takeTime(event.client_time, event.hub_time);
        break;
      case 'problem':
        // A hub that does not know what a question for the time is, knows no pictures either; the subscription stands.
        if (this.frames.supported === null) {
          this.#time.stop();
          this.frames.markUnsupported();
        }
        break;
    }
  }

  #gather(reading: Reading): void {
    this.#gathered.push(reading);
    this.#gathering ??= setTimeout(() => this.#takeGathered(), GATHER_MS);
  }

  #takeGathered(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    for (const reading of this.#gathered) this.seriesOf(reading.module_id, reading.type).push(reading);
    this.#gathered = [];
  }

  #takeTime(clientTime: number, hubTime: number): void {
    this.#time.answer(clientTime, hubTime);
    const { secs, maxErrorSecs } = this.#time.offset;
    if (secs !== null) this.skewSecs = secs;
    this.skewErrorSecs = maxErrorSecs;
    if (this.frames.supported === null) this.frames.attach((message) => this.#say(message));
  }

  #takePresent(readings: Reading[], modules: Module[], cameras: CameraInfo[]): void {
    const present = new Set(modules.map((module) => module.id));
    for (const id of [...this.modules.keys()]) if (!present.has(id)) this.#forgetModule(id);
    for (const module of modules) this.modules.set(module.id, module);
    const seen = new Set(cameras.map((camera) => camera.module_id));
    for (const id of [...this.cameras.keys()]) if (!seen.has(id)) this.cameras.delete(id);
    for (const camera of cameras) this.cameras.set(camera.module_id, camera);

    const groups = bySeries(readings);
    // With very many series the hub sends fewer of each; only what is shorter than that is all there is.
    const each = Math.min(RECENT, Math.floor(MAX_RECENT_READINGS / Math.max(1, groups.length)));
    for (const of of groups) this.seriesOf(of[0].module_id, of[0].type).pushRecent(of, of.length < each);

    this.#attempt = 0;
    this.known = true;
    // A `silent` connection is `live` again by its next message.
    if (this.state !== 'live') {
      this.state = 'live';
      this.connections += 1;
      this.commands.stopPolling();
      this.commands.refresh();
    }
  }

  #forgetModule(id: string): void {
    this.modules.delete(id);
    this.cameras.delete(id);
    for (const [key, series] of this.series) if (series.moduleId === id) this.series.delete(key);
  }
}

/** Module ids and types hold no slash. */
export const seriesKey = (moduleId: string, type: string): string => `${moduleId}/${type}`;

function bySeries(readings: readonly Reading[]): [Reading, ...Reading[]][] {
  const groups = new Map<string, [Reading, ...Reading[]]>();
  for (const reading of readings) {
    const key = seriesKey(reading.module_id, reading.type);
    const group = groups.get(key);
    if (group) group.push(reading);
    else groups.set(key, [reading]);
  }
  return [...groups.values()];
}
