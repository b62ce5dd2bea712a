/** The hub is at the root of its host, or below the path of a proxy. */
import { base } from '$app/paths';

/** The URL at which the browser finds a path of the hub, such as `/api/modules`. */
export const hubUrl = (path: string): string => `${base}${path}`;
