// The hub only serves files: all pages are rendered in the browser.
export const ssr = false;
export const prerender = false;
