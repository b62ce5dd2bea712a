import type { CameraInfo, Command, Module } from '../api/types';
import { type ConnectionState, LiveConnection } from './connection.svelte';
import { EventDispatcher } from './dispatcher';
import { FrameSubscriptions } from './frame-subscriptions.svelte';
import type { LiveEvent, OpenSocket } from './protocol';
import type { Series } from './series.svelte';
import { LiveStore, RECENT } from './store.svelte';
import { TimeSync } from './timesync';

export interface LiveOptions {
  url: string;
  /** Asks the hub for one command; used after the connection was lost. */
  fetchCommand: (id: string) => Promise<Command>;
  open?: OpenSocket;
  random?: () => number;
  /** The connection ended before the first event, or because the session is over. */
  onRejected?: () => void;
}

/**
 * The current state of the hub, kept up to date over one WebSocket for as long as it is started.
 *
 * It puts the parts together: the connection receives messages, the dispatcher parses them, the store holds the result.
 * It never queues what it sends (commands use HTTP). After a reconnect the hub's snapshot replaces what was known.
 */
export class Live {
  /** How far the hub's clock is ahead of the browser's, in seconds. */
  skewSecs = $state(0);
  /** The greatest possible error of `skewSecs`; `null` while it is only estimated from `hello`. */
  skewErrorSecs = $state<number | null>(null);
  /** How many events the hub has dropped for this page, in all. */
  missed = $state(0);
  hubVersion = $state<string | null>(null);

  readonly frames = new FrameSubscriptions();
  readonly #store: LiveStore;
  readonly #connection: LiveConnection;
  readonly #time = new TimeSync((client_time) => this.#connection.send({ type: 'time', client_time }));
  readonly #events = new EventDispatcher({
    hello: (event) => this.#onHello(event.hub_time, event.version),
    recent: (event) => this.#onSnapshot(event),
    reading: (readings) => this.#store.addReadings(readings),
    module: ({ module }) => this.#store.modules.set(module.id, module),
    module_removed: (event) => this.#store.removeModule(event.module_id),
    command: ({ command }) => this.#store.commands.put(command),
    camera: ({ camera }) => this.#store.cameras.set(camera.module_id, camera),
    resync: ({ missed }) => this.#onMissed(missed),
    time: (event) => this.#onTime(event.client_time, event.hub_time),
    problem: () => this.#onProblem()
  });

  constructor({ url, fetchCommand, open, random, onRejected }: LiveOptions) {
    this.#store = new LiveStore(fetchCommand);
    this.#connection = new LiveConnection({
      url,
      open,
      random,
      onRejected,
      onOpen: () => {
        this.#connection.send({ type: 'subscribe', recent: RECENT });
        this.#time.start();
      },
      onMessage: (data) => {
        if (data instanceof ArrayBuffer) this.frames.dispatch(data);
        else this.#events.dispatch(String(data));
      },
      onClose: () => this.#onClose(),
      probe: () => this.#connection.send({ type: 'time', client_time: Date.now() / 1000 }),
      expectsFrames: () => this.frames.expectsFrames
    });
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  get unresponsiveSecs(): number | null {
    return this.#connection.unresponsiveSecs;
  }

  /** How often the connection became live. */
  get connections(): number {
    return this.#connection.count;
  }

  /** The hub does not respond: the values on the page may be out of date. */
  get hubUnreachable(): boolean {
    return this.state === 'unresponsive' || this.state === 'lost';
  }

  /** Whether at least one snapshot has arrived. */
  get loaded(): boolean {
    return this.#store.loaded;
  }

  get modules(): ReadonlyMap<string, Module> {
    return this.#store.modules;
  }

  get series(): ReadonlyMap<string, Series> {
    return this.#store.series;
  }

  get cameras(): ReadonlyMap<string, CameraInfo> {
    return this.#store.cameras;
  }

  get commands(): LiveStore['commands'] {
    return this.#store.commands;
  }

  /** Connects and stays connected until the returned function is called. */
  start(): () => void {
    const stop = this.#connection.start();
    return () => {
      stop();
      this.commands.stopPolling();
    };
  }

  /** Reconnects now instead of after the back-off. */
  retryNow(): void {
    this.#connection.retryNow();
  }

  #onClose(): void {
    this.#events.flush();
    this.#time.stop();
    this.frames.detach();
    // Without events the outcomes of commands have to be asked for.
    this.commands.startPolling();
  }

  #onHello(hubTime: number, version: string): void {
    this.#connection.markGreeted();
    this.skewSecs = hubTime - Date.now() / 1000;
    this.skewErrorSecs = null;
    this.hubVersion = version;
  }

  #onSnapshot({ readings, modules, cameras }: Extract<LiveEvent, { type: 'recent' }>): void {
    this.#store.applySnapshot(readings, modules, cameras);
    if (!this.#connection.markLive()) return;
    this.commands.stopPolling();
    this.commands.refresh();
  }

  #onMissed(missed: number): void {
    this.missed += missed;
    this.commands.refresh();
  }

  #onTime(clientTime: number, hubTime: number): void {
    this.#time.addResponse(clientTime, hubTime);
    const { secs, maxErrorSecs } = this.#time.offset;
    if (secs !== null) this.skewSecs = secs;
    this.skewErrorSecs = maxErrorSecs;
    // A hub that answers `time` sends frames, too.
    if (this.frames.supported === null) this.frames.attach((message) => this.#connection.send(message));
  }

  #onProblem(): void {
    // An older hub rejects the first `time` message, and sends no frames either; the subscription stays.
    if (this.frames.supported !== null) return;
    this.#time.stop();
    this.frames.markUnsupported();
  }
}
