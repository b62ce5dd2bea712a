import { createContext } from 'svelte';
import type { Clock } from './clock.svelte';
import type { Live } from './live.svelte';
import type { StorageStatus } from './storage.svelte';

/** The live store of the page, set by the layout of everything behind the login. */
export const [getLive, setLive] = createContext<Live>();

/** The hub's clock, beside it. */
export const [getClock, setClock] = createContext<Clock>();

/** How the hub's storage is, beside it. */
export const [getStorage, setStorage] = createContext<StorageStatus>();
