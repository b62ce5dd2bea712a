import * as hub from '../api/hub';
import { ApiProblem, errorMessage } from '../api/problem';
import type { Command, NewCommand } from '../api/types';
import type { Live } from '../live/live.svelte';

/** The command of one control: sends it, and follows its states. */
export class CommandSender {
  /** Why the hub rejected the newest command. */
  error = $state<string | null>(null);
  /** Whether a request is in flight. */
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

  /** Resolves to whether the hub accepted the command. */
  async send(moduleId: string, action: string, params: Record<string, unknown>, expiresIn?: number): Promise<boolean> {
    this.sending = true;
    this.error = null;
    try {
      const command = await sendOnce(moduleId, { action, params, expires_in: expiresIn });
      this.#live.commands.addNew(command);
      this.#id = command.id;
      return true;
    } catch (thrown) {
      this.error = errorMessage(thrown);
      return false;
    } finally {
      this.sending = false;
    }
  }
}

/**
 * Sends the command, and once more when there was no response. The first request may have arrived; with the
 * key the hub takes both as one command.
 */
async function sendOnce(moduleId: string, command: NewCommand): Promise<Command> {
  const key = freshKey();
  try {
    return await hub.control(moduleId, command, key);
  } catch (thrown) {
    if (thrown instanceof ApiProblem && thrown.status === 0) return hub.control(moduleId, command, key);
    throw thrown;
  }
}

/** Not `crypto.randomUUID`: browsers have it over HTTPS only, and a hub at home uses plain HTTP. */
function freshKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
