import * as hub from './api/hub';
import type { Caller, Session as Answer } from './api/types';

/** The session of the person at the page. */
class Session {
  caller = $state.raw<Caller | null>(null);
  needsFirstAdmin = $state(false);

  /** Whether the caller may send commands. */
  get mayControl(): boolean {
    return this.caller?.role === 'operator' || this.caller?.role === 'admin';
  }

  get isAdmin(): boolean {
    return this.caller?.role === 'admin';
  }

  /** Why the caller may not send commands, or `null`. */
  get controlDeniedReason(): string | null {
    if (this.mayControl) return null;
    return 'You have read-only access.';
  }

  /** `fetch` is SvelteKit's own inside a `load`. */
  async load(ask?: typeof fetch): Promise<void> {
    this.#take(await hub.session(ask));
  }

  async login(name: string, password: string): Promise<void> {
    this.#take(await hub.login(name, password));
  }

  async createFirstAdmin(code: string, name: string, password: string): Promise<void> {
    this.#take(await hub.createFirstAdmin(code, name, password));
  }

  async logout(): Promise<void> {
    await hub.logout();
    this.caller = null;
  }

  #take(answer: Answer): void {
    this.caller = answer.caller;
    this.needsFirstAdmin = answer.needs_first_admin;
  }
}

export const session = new Session();
