import { SvelteMap } from 'svelte/reactivity';
import type { Command, CommandState } from '../api/types';

const UNFINISHED: readonly CommandState[] = ['queued', 'leased'];
/** The page keeps at most this many finished commands. */
const MAX_FINISHED = 200;
/** The polling interval for unfinished commands while the live connection is lost. */
const POLL_MS = 2_000;

/** Whether the command can still change. */
export const isOpen = (command: Pick<Command, 'state'>): boolean => UNFINISHED.includes(command.state);

/** The commands known to this page, each in its newest state. */
export class Commands {
  readonly byId = new SvelteMap<string, Command>();
  readonly #fetch: (id: string) => Promise<Command>;
  #polling: ReturnType<typeof setInterval> | undefined;

  constructor(fetchCommand: (id: string) => Promise<Command>) {
    this.#fetch = fetchCommand;
  }

  /** Stores the command of an event. */
  put(command: Command): void {
    const known = this.byId.get(command.id);
    // An outcome is final: a late response to an earlier request must not undo it.
    if (known && !isOpen(known) && isOpen(command)) return;
    this.byId.set(command.id, command);
    this.#evict();
  }

  /** Stores the response to `control`, unless an event was faster. */
  addNew(command: Command): void {
    if (!this.byId.has(command.id)) this.put(command);
  }

  /** The module's commands, newest first. */
  ofModule(moduleId: string): Command[] {
    return [...this.byId.values()]
      .filter((command) => command.module_id === moduleId)
      .sort((a, b) => b.created_at - a.created_at);
  }

  /** Requests every command without an outcome. */
  refresh(): void {
    for (const command of this.byId.values()) {
      if (!isOpen(command)) continue;
      // A failed request is repeated by the interval or after the next reconnect.
      this.#fetch(command.id).then(
        (response) => this.put(response),
        () => {}
      );
    }
  }

  /** Polls while no events arrive. */
  startPolling(): void {
    this.#polling ??= setInterval(() => this.refresh(), POLL_MS);
  }

  stopPolling(): void {
    clearInterval(this.#polling);
    this.#polling = undefined;
  }

  #evict(): void {
    for (const [id, command] of this.byId) {
      if (this.byId.size <= MAX_FINISHED) return;
      if (!isOpen(command)) this.byId.delete(id);
    }
  }
}
