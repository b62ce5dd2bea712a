import { SvelteMap } from 'svelte/reactivity';
import type { Command, CommandState } from '../api/types';

const OPEN: readonly CommandState[] = ['queued', 'leased'];
/** How many finished commands a page remembers. */
const KEPT = 200;
/** How often an unfinished command is asked for while the live connection is lost. */
const POLL_MS = 2_000;

/** Whether the command can still change. */
export const isOpen = (command: Pick<Command, 'state'>): boolean => OPEN.includes(command.state);

/** The commands this page has seen, each in the newest state known. */
export class Commands {
  readonly byId = new SvelteMap<string, Command>();
  readonly #ask: (id: string) => Promise<Command>;
  #asking: ReturnType<typeof setInterval> | undefined;

  constructor(ask: (id: string) => Promise<Command>) {
    this.#ask = ask;
  }

  /** Takes what an event says. */
  put(command: Command): void {
    const known = this.byId.get(command.id);
    // An outcome is final: a slow answer to an earlier question must not undo it.
    if (known && !isOpen(known) && isOpen(command)) return;
    this.byId.set(command.id, command);
    this.#forget();
  }

  /** Takes the answer to a `control`; events may have overtaken it. */
  addNew(command: Command): void {
    if (!this.byId.has(command.id)) this.put(command);
  }

  /** The module's commands, newest first. */
  of(moduleId: string): Command[] {
    return [...this.byId.values()]
      .filter((command) => command.module_id === moduleId)
      .sort((a, b) => b.created_at - a.created_at);
  }

  /** Asks the hub for every command whose outcome is not known. */
  refresh(): void {
    for (const command of this.byId.values()) {
      if (!isOpen(command)) continue;
      // Whoever cannot be asked now is asked again by the interval or after the next reconnect.
      this.#ask(command.id).then(
        (answer) => this.put(answer),
        () => {}
      );
    }
  }

  /** Asks again and again, for as long as no events come. */
  startPolling(): void {
    this.#asking ??= setInterval(() => this.refresh(), POLL_MS);
  }

  stopPolling(): void {
    clearInterval(this.#asking);
    this.#asking = undefined;
  }

  #forget(): void {
    for (const [id, command] of this.byId) {
      if (this.byId.size <= KEPT) return;
      if (!isOpen(command)) this.byId.delete(id);
    }
  }
}
