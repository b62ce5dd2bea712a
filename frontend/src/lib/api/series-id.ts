/** What identifies a series: a module, a type, and the channel if the module has several sensors of the type. */

export interface SeriesId {
  moduleId: string;
  type: string;
  /** `null`: the default channel. */
  channel: string | null;
}

/** The series as a string. Ids contain no slash, so different series have different keys. */
export const seriesKey = ({ moduleId, type, channel }: SeriesId): string =>
  channel === null ? `${moduleId}/${type}` : `${moduleId}/${type}/${channel}`;

/** The series of a reading or bucket. */
export const seriesOf = (item: { module_id: string; type: string; channel?: string | null }): SeriesId => ({
  moduleId: item.module_id,
  type: item.type,
  channel: item.channel ?? null
});
