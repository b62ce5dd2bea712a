/** Where the hub is: at the root of its host, or below the path of a proxy. */
import { base } from '$app/paths';

/** The URL of one of the hub's paths, `/api/...`, as the browser has to ask for it. */
export const hubUrl = (path: string): string => `${base}${path}`;
