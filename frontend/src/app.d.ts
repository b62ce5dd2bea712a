declare global {
  namespace App {
    interface Error {
      message: string;
      /** The problem's kind when the hub said no, `unavailable` when it said nothing. */
      kind?: string;
    }
  }
}

export {};
