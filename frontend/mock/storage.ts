import type { StorageReport } from '../src/lib/api/types';
import type { MockResponse } from './responses.ts';

/** The storage of the mock hub: requests of an admin change its report. */
export class MockStorage {
  #report: StorageReport;

  constructor(report: StorageReport) {
    this.#report = report;
  }

  report(): StorageReport {
    return this.#report;
  }

  respond(what: string | undefined, body: unknown): MockResponse {
    const at = Date.now() / 1000;
    switch (what) {
      case 'acknowledge':
        this.#change({
          quarantined: [],
          problems: this.#report.problems.filter((one) => !one.includes('damaged database'))
        });
        return { status: 204, body: undefined };
      case 'backup': {
        const last_backup = { at, bytes: this.#report.database_bytes, verified: true, path: '/data/backups/now.db' };
        this.#change({ last_backup });
        return { status: 200, body: last_backup };
      }
      case 'retention': {
        const confirm = (body as { confirm?: boolean }).confirm === true;
        const { refused, ...before } = this.#report.retention ?? NOTHING;
        const report = { ...before, at, dry_run: !confirm, refused: confirm ? null : refused };
        const problems = this.#report.problems.filter((one) => !one.includes('has to confirm'));
        if (confirm) this.#change({ retention: report, problems });
        return { status: 200, body: report };
      }
      default:
        return { status: 404, body: undefined };
    }
  }

  #change(change: Partial<StorageReport>): void {
    this.#report = { ...this.#report, ...change };
  }
}

const none = { gone: 0, of: 0 };
const NOTHING = { at: 0, dry_run: false, refused: null, readings: none, minutes: none, hours: none, days: none };
