import { createContext } from 'svelte';
import type { Clock } from './clock.svelte';
import type { Live } from './live.svelte';
import type { StorageStatus } from './storage.svelte';

/** The live state, set by the layout of all pages behind the login. */
export const [getLive, setLive] = createContext<Live>();

/** The hub's clock, set by the same layout. */
export const [getClock, setClock] = createContext<Clock>();

/** The status of the hub's storage, set by the same layout. */
export const [getStorage, setStorage] = createContext<StorageStatus>();
