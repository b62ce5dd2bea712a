declare global {
  namespace App {
    interface Error {
      message: string;
      /** The kind of the hub's problem, or `unavailable` when it did not respond. */
      kind?: string;
    }
  }
}

export {};
