import { backoffMs } from './backoff';
import { type ClientMessage, type LiveSocket, type OpenSocket, openWebSocket, POLICY_VIOLATION } from './protocol';
import { ConnectionWatchdog } from './watchdog';

/**
 * `unresponsive`: the connection is open, but the hub has not answered a probe on it.
 * `lost`: the connection is closed and will be opened again.
 */
export type ConnectionState = 'connecting' | 'live' | 'unresponsive' | 'lost';

export interface ConnectionOptions {
  url: string;
  open?: OpenSocket;
  random?: () => number;
  /** The socket is open. */
  onOpen: () => void;
  /** A message: text, or an `ArrayBuffer` with a frame. */
  onMessage: (data: unknown) => void;
  /** The connection has ended; it is opened again after a delay, unless it was stopped. */
  onClose: () => void;
  /** The connection ended before the first event, or because the session is over. */
  onRejected?: () => void;
  /** Sends a message that the hub answers at once. */
  probe: () => void;
  /** Whether frames are expected, so that a shorter silence is suspicious. */
  expectsFrames: () => boolean;
}

/** One WebSocket to the hub: opened, watched, and opened again with back-off for as long as it is started. */
export class LiveConnection {
  state = $state<ConnectionState>('connecting');
  /** While `unresponsive`: seconds since the last message, by the clock of the browser. */
  unresponsiveSecs = $state<number | null>(null);
  /** How often the connection became live. */
  count = $state(0);

  readonly #options: ConnectionOptions;
  readonly #watchdog: ConnectionWatchdog;
  #socket: LiveSocket | null = null;
  #attempt = 0;
  #greeted = false;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#watchdog = new ConnectionWatchdog({
      probe: options.probe,
      expectsFrames: options.expectsFrames,
      onUnresponsive: (secs) => this.#setUnresponsive(secs),
      onLost: () => this.#lost()
    });
  }

  /** Connects and stays connected until the returned function is called. */
  start(): () => void {
    this.state = 'connecting';
    this.#connect();
    return () => this.#stop();
  }

  /** Reconnects now instead of after the back-off: the network is back, or the page is visible again. */
  retryNow(): void {
    if (this.#retry === undefined) return;
    this.#attempt = 0;
    this.#connect();
  }

  /** Does nothing without a connection: nothing is queued for the next one. */
  send(message: ClientMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  /** The first event has arrived: the hub accepted the session. */
  markGreeted(): void {
    this.#greeted = true;
  }

  /** The snapshot has arrived. Returns whether the connection was not live before. */
  markLive(): boolean {
    this.#attempt = 0;
    // An `unresponsive` connection is set to `live` by the watchdog with its next message.
    if (this.state === 'live') return false;
    this.state = 'live';
    this.count += 1;
    return true;
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#greeted = false;
    const socket = (this.#options.open ?? openWebSocket)(this.#options.url);
    this.#socket = socket;
    socket.onopen = () => this.#options.onOpen();
    socket.onmessage = ({ data }) => {
      this.#watchdog.messageReceived(data instanceof ArrayBuffer);
      this.#options.onMessage(data);
    };
    socket.onclose = (event) => this.#lost(event?.code === POLICY_VIOLATION);
    this.#watchdog.start();
  }

  #setUnresponsive(secs: number | null): void {
    this.unresponsiveSecs = secs;
    if (secs !== null && this.state === 'live') this.state = 'unresponsive';
    else if (secs === null && this.state === 'unresponsive') this.state = 'live';
  }

  #lost(revoked = false): void {
    const rejected = revoked || !this.#greeted;
    this.#close();
    this.state = 'lost';
    this.#retry = setTimeout(() => this.#connect(), backoffMs(this.#attempt, this.#options.random ?? Math.random));
    this.#attempt += 1;
    if (rejected) this.#options.onRejected?.();
  }

  #close(): void {
    this.#watchdog.stop();
    const socket = this.#socket;
    this.#socket = null;
    this.#options.onClose();
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #stop(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#close();
  }
}
