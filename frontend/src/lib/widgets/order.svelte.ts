import * as hub from '../api/hub';
import { messageOf } from '../api/problem';
import type { Command } from '../api/types';
import type { Live } from '../live/live.svelte';

/** The one command a control is concerned with: gives it, and follows it through its states. */
export class Order {
  /** Why the hub did not take the newest command. */
  refusal = $state<string | null>(null);
  /** Whether the hub has not answered yet. */
  sending = $state(false);
  readonly #live: Live;
  #id = $state<string | null>(null);

  constructor(live: Live) {
    this.#live = live;
  }

  /** The command in its newest known state. */
  get command(): Command | null {
    return this.#id === null ? null : (this.#live.commands.byId.get(this.#id) ?? null);
  }

  /** Resolves to whether the hub took the command. */
  async give(moduleId: string, action: string, params: Record<string, unknown>, expiresIn?: number): Promise<boolean> {
    this.sending = true;
    this.refusal = null;
    try {
      const command = await hub.control(moduleId, { action, params, expires_in: expiresIn });
      this.#live.commands.introduce(command);
      this.#id = command.id;
      return true;
    } catch (thrown) {
      this.refusal = messageOf(thrown);
      return false;
    } finally {
      this.sending = false;
    }
  }
}
