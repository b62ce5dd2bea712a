//! Time series: how readings are stored and read back.

pub(super) mod bucket_sums;
pub(super) mod buckets;
pub(super) mod chunk;
pub(super) mod compaction;
pub(super) mod dedup;
pub(super) mod eviction;
pub(super) mod expiry;
pub(super) mod gaps;
pub(super) mod ingest;
pub(super) mod memtable;
pub(super) mod merge;
pub(super) mod page;
pub(super) mod point;
pub(super) mod range_set;
pub(super) mod readings;
pub(super) mod removed;
pub(super) mod rollup_blocks;
pub(super) mod rollups;
pub(super) mod runs;
pub(super) mod sum;
pub(super) mod sum_runs;
pub(super) mod wal;
pub(super) mod wal_record;
