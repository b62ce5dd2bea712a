//! Time series: the write path and the read path of readings.
//!
//! ```text
//!  write path (the writer thread)                       read path (a reader's snapshot)
//!
//!  readings                                             query
//!     |  ingest: series, dedup                            |
//!     v                                                   |   one series: readings, bucket_sums
//!  one transaction per group of writes                    |   all modules: page + merge, buckets
//!     |                                                   |
//!     +--> wal: one row per commit --- start ---+         |
//!     |    (wal_record)                         |         |
//!     | after the commit                        v         |
//!     +------------------------------------> memtable <---+   records that are not compacted,
//!                                               |         |   and the sorted runs of the last pages
//!                  compaction, some series per  |         |   (runs, sum_runs)
//!                  transaction                  v         |
//!                                            chunks  <----+   compacted records
//!                                            rollups <----+   sums by minute, hour, day
//!                                               |         |
//!                  expiry, eviction             v         |
//!                                        rollup_blocks <--+   sums of expired chunks
//! ```
//!
//! **Write path.** `ingest` finds the series of each reading, creates missing ones, and drops readings whose sequence number has
//! arrived before (`dedup`). The last statement of the transaction appends one record to the table `wal`. After the commit, and before
//! the writes are acknowledged, the records are inserted into the memtable.
//!
//! **Compaction** starts when the memtable is large or old. It freezes the records and moves them series by series into `chunks` and,
//! where that is worth it, `rollups`; each step sets `series.compacted_to`. The last step stores the sequence numbers and sets
//! `wal_state.compacted_to`; then the WAL records before it are deleted, a bounded number per transaction.
//!
//! **Read path.** A query copies what it needs of the memtable and begins its snapshot of the database under one lock. Where both have
//! a record, `series.compacted_to` of the snapshot decides.
//!
//! **Start.** `ingest` reads the series, the epochs, and the WAL records from `wal_state.compacted_to` on. A record whose series is
//! compacted beyond it is skipped.
//!
//! Deliberately absent: a log file beside the database. It would need a second format, a second recovery, and backups of two files that
//! have to match.

pub(super) mod boundary;
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
mod store;
pub(super) mod sum;
pub(super) mod sum_runs;
pub(super) mod wal;
pub(super) mod wal_record;
