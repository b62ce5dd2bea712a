// The hub only serves files: everything is drawn in the browser.
export const ssr = false;
export const prerender = false;
