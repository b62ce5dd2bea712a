/** Whether a module is reachable, and whether its controls may be used. */
import type { Module } from '../api/types';
import type { ConnectionState } from './connection.svelte';

/** Whether the module does not respond. */
export const isOffline = ({ health }: Pick<Module, 'health'>): boolean => health === 'offline' || health === 'unknown';

/** Whether the reported state is only the last known one: the module or the hub does not respond. */
export const isUnreachable = (module: Pick<Module, 'health'>, live: ConnectionState): boolean =>
  isOffline(module) || live === 'unresponsive' || live === 'lost';

/** Why a control that must act at once is disabled, as a sentence; `null` while its module is reachable. */
export function offlineReason(module: Pick<Module, 'id' | 'health'>): string | null {
  return isOffline(module) ? `Module ${module.id} is offline. This control works again when the module is back.` : null;
}
