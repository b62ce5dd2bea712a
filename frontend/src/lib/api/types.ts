/** The wire's types by their short names. */

export type ProblemKind =
  | 'invalid_argument'
  | 'unauthenticated'
  | 'permission_denied'
  | 'not_found'
  | 'conflict'
  | 'too_large'
  | 'unprocessable'
  | 'rate_limited'
  | 'internal'
  | 'unavailable'
  | 'storage_full';

export interface Problem {
  type: string;
  kind: ProblemKind;
  title: string;
  status: number;
  detail?: string | null;
  pointer?: string | null;
  request_id?: string | null;
  retry_after_secs?: number | null;
  choices?: string[] | null;
}

export interface Reading {
  module_id: string;
  type: string;
  /** `null`: the module tried and failed; `reason` says why. */
  value: number | null;
  unit: string;
  /** Unix seconds: when it was measured. */
  timestamp: number;
  /** Unix seconds: when the hub got it. */
  received_at: number;
  reason?: string | null;
}

export interface Bucket {
  module_id: string;
  type: string;
  unit: string;
  /** Unix seconds: the beginning of the bucket. */
  start: number;
  avg?: number | null;
  min?: number | null;
  max?: number | null;
  count?: number | null;
  missing?: number | null;
}

export interface Measure {
  type: string;
  unit: string;
  every_secs?: number | null;
}

export interface ActionSpec {
  name: string;
  description?: string | null;
  hazardous?: boolean;
  /** JSON Schema (2020-12) of an object. */
  params?: Record<string, unknown>;
}

export interface CameraSpec {
  width?: number | null;
  height?: number | null;
  fps?: number | null;
}

export interface Manifest {
  version?: string | null;
  description?: string | null;
  measures?: Measure[];
  actions?: ActionSpec[];
  camera?: CameraSpec | null;
  heartbeat_secs?: number | null;
}

export type Health = 'online' | 'late' | 'offline' | 'unknown';

export interface Module {
  id: string;
  manifest?: Manifest | null;
  health: Health;
  last_seen_at?: number | null;
  registered_at?: number | null;
  state?: Record<string, unknown> | null;
  state_at?: number | null;
}

export type CommandState = 'queued' | 'leased' | 'succeeded' | 'failed' | 'rejected' | 'expired' | 'cancelled' | 'dead';

export interface Command {
  id: string;
  module_id: string;
  action: string;
  params?: Record<string, unknown>;
  state: CommandState;
  issued_by: string;
  created_at: number;
  expires_at: number;
  leased_at?: number | null;
  finished_at?: number | null;
  attempts: number;
  result?: unknown;
  error?: string | null;
}

export interface NewCommand {
  action: string;
  params?: Record<string, unknown>;
  expires_in?: number;
}

export interface CameraInfo {
  module_id: string;
  width: number;
  height: number;
  bytes: number;
  fps: number;
  viewers: number;
  frames: number;
  skipped: number;
  taken_at: number;
  received_at: number;
}

export type Role = 'viewer' | 'operator' | 'admin' | 'module';

export interface Caller {
  name: string;
  role: Role;
}

export interface Session {
  caller: Caller | null;
  needs_first_admin: boolean;
}

/** Every list of the hub: `next` is an opaque cursor, `null` on the last page. */
export interface Page<Item> {
  items: Item[];
  next: string | null;
}
