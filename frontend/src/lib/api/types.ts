/** Short names for the types of the wire; `openapi.json` documents them. */
import type { components } from './schema';

type Schemas = components['schemas'];

export type ActionSpec = Schemas['ActionSpec'];
export type Bucket = Schemas['Bucket'];
export type Caller = Schemas['Identity'];
export type CameraInfo = Schemas['CameraInfo'];
export type CameraSpec = Schemas['CameraSpec'];
export type Command = Schemas['Command'];
export type CommandState = Schemas['CommandState'];
export type Delivery = Schemas['Delivery'];
export type DeviceKind = Schemas['DeviceKind'];
export type Gap = Schemas['Gap'];
export type GapReason = Schemas['GapReason'];
export type Health = Schemas['Health'];
export type Manifest = Schemas['Manifest'];
export type Measure = Schemas['Measure'];
export type Module = Schemas['ModuleInfo'];
export type NewCommand = Schemas['NewCommand'];
export type Problem = Schemas['Problem'];
export type ProblemKind = Schemas['ErrorKind'];
export type Reading = Schemas['Reading'];
export type RetentionReport = Schemas['RetentionReport'];
export type Role = Schemas['Role'];
export type Session = Schemas['Session'];
export type StorageReport = Schemas['StorageReport'];
export type WatchedCamera = Schemas['WatchedCamera'];
export type ViewerInfo = Schemas['ViewerInfo'];

/** One page of a list: `next` is an opaque cursor, `null` on the last page. */
export type Page<Item> = Omit<Schemas['Page_Reading'], 'items'> & { items: Item[] };
