/** The recordings of the mock hub: today from some hours ago until now, with gaps. */
import type { RecordingReport, RecordingSettings, Clip } from '../src/lib/api/recording';
import type { Role } from '../src/lib/api/types';
import { type MockResponse, ok, pageOf, problem } from './responses.ts';

const FPS = 12;
const FRAME_BYTES = 16_000;
const MAX_FRAME_TIMES = 10_000;
/** Start and end of each clip, in seconds before now. */
const PAST: readonly [begun: number, ended: number, reason: string][] = [
  [26 * 3600, 25.2 * 3600, 'continuous'],
  [7.6 * 3600, 6.1 * 3600, 'continuous'],
  [5.2 * 3600, 5.19 * 3600, 'motion of door above 0.5'],
  [4.4 * 3600, 4.39 * 3600, 'motion of door above 0.5'],
  [4.1 * 3600, 4.08 * 3600, 'motion of door above 0.5'],
  [2.8 * 3600, 0.9 * 3600, 'continuous'],
  [1500, 600, 'continuous'],
  [420, 12, 'continuous']
];

const now = (): number => Date.now() / 1000;

export class MockRecordings {
  readonly #settings = new Map<string, RecordingSettings>();
  readonly #clips: Clip[] = PAST.map(([begun, ended, reason], id) => {
    // Whole frames, so that a frame time is found again.
    const begun_at = Math.round(now() - begun);
    const frames = Math.round((begun - ended) * FPS);
    return { id: String(id), begun_at, ended_at: begun_at + frames / FPS, frames, bytes: frames * FRAME_BYTES, reason };
  });

  /** Answers a request below `/api/cameras/{id}/`; `undefined` for an unknown path. */
  respond(
    method: string,
    moduleId: string,
    rest: string,
    url: URL,
    body: unknown,
    role: Role
  ): MockResponse | undefined {
    if (method !== 'GET' && role === 'viewer')
      return problem(403, 'permission_denied', 'This needs the role `operator`. Your role is `viewer`.');
    const since = Number(url.searchParams.get('since') ?? 0);
    const until = Number(url.searchParams.get('until') ?? Infinity);
    switch (`${method} ${rest}`) {
      case 'GET recording':
        return ok(this.#report(moduleId));
      case 'PUT recording':
        this.#settings.set(moduleId, body as RecordingSettings);
        return ok(this.#report(moduleId));
      case 'POST record':
        this.#record((body as { secs?: number }).secs ?? 30);
        return ok(this.#report(moduleId));
      case 'DELETE record':
        this.#stop();
        return ok(this.#report(moduleId));
      case 'GET recordings':
        return pageOf(
          this.#whole().filter((one) => one.begun_at < until && one.ended_at >= since),
          url
        );
      case 'GET recordings/frames':
        return pageOf(this.#times(since, until), url, MAX_FRAME_TIMES);
      default:
        return undefined;
    }
  }

  /** The frame time nearest to that time. */
  nearest(time: number): number | null {
    let best: number | null = null;
    for (const { begun_at, frames } of this.#whole()) {
      const place = Math.min(Math.max(Math.round((time - begun_at) * FPS), 0), Math.max(frames - 1, 0));
      const at = begun_at + place / FPS;
      if (best === null || Math.abs(at - time) < Math.abs(best - time)) best = at;
    }
    return best;
  }

  #report(moduleId: string): RecordingReport {
    const clips = this.#whole();
    const sum = (of: (one: Clip) => number) => clips.reduce((all, one) => all + of(one), 0);
    return {
      mode: 'continuous',
      every_secs: 60,
      before_secs: 5,
      after_secs: 30,
      keep_days: 7,
      keep_bytes: 10_000_000_000,
      triggers: [],
      ...this.#settings.get(moduleId),
      recording: clips.some((one) => one.ended_at > now() - 2),
      event_until: this.#clips.map((one) => one.ended_at).find((end) => end > now()) ?? null,
      paused: null,
      frames: sum((one) => one.frames),
      bytes: sum((one) => one.bytes),
      oldest_at: clips[0]?.begun_at ?? null,
      newest_at: clips.at(-1)?.ended_at ?? null,
      skipped: 0
    };
  }

  #record(secs: number): void {
    const begun_at = Math.round(now());
    const [id, ended_at] = [String(this.#clips.length), begun_at + secs];
    this.#clips.push({ id, begun_at, ended_at, frames: 0, bytes: 0, reason: 'asked for' });
  }

  #stop(): void {
    for (const one of this.#clips) one.ended_at = Math.min(one.ended_at, now());
  }

  /** A clip that is still being recorded ends now. */
  #whole(): Clip[] {
    return this.#clips.map((one) => {
      const ended_at = Math.min(one.ended_at, now());
      const frames = Math.max(1, Math.floor((ended_at - one.begun_at) * FPS));
      return { ...one, ended_at: one.begun_at + (frames - 1) / FPS, frames, bytes: frames * FRAME_BYTES };
    });
  }

  #times(since: number, until: number): number[] {
    return this.#whole()
      .flatMap(({ begun_at, frames }) => {
        const first = Math.max(0, Math.ceil((since - begun_at) * FPS));
        const end = Math.min(frames, Math.ceil((until - begun_at) * FPS));
        const count = Math.min(Math.max(0, end - first), MAX_FRAME_TIMES);
        return Array.from({ length: count }, (_, at) => begun_at + (first + at) / FPS);
      })
      .slice(0, MAX_FRAME_TIMES);
  }
}
