import * as hub from './api/hub';
import type { Caller, Session as SessionInfo } from './api/types';

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
  async load(fetch?: typeof globalThis.fetch): Promise<void> {
    this.#set(await hub.session(fetch));
  }

  async login(name: string, password: string): Promise<void> {
    this.#set(await hub.login(name, password));
  }

  async createFirstAdmin(code: string, name: string, password: string): Promise<void> {
    this.#set(await hub.createFirstAdmin(code, name, password));
  }

  async logout(): Promise<void> {
    await hub.logout();
    this.caller = null;
  }

  #set(info: SessionInfo): void {
    this.caller = info.caller;
    this.needsFirstAdmin = info.needs_first_admin;
  }
}

export const session = new Session();
