//! A token bucket for each key, stored as the time at which it will be full again.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Mutex,
    time::Duration,
};

use iotpi_core::Timestamp;

use crate::{lock::lock, store::Steady};

/// The size of a bucket: the tokens of this time.
const BURST: Duration = Duration::from_secs(60);
/// The number of keys from which full buckets are dropped.
const MAX_FULL: usize = 1024;

/// Token buckets with the same rate.
#[derive(Debug)]
pub(super) struct RateLimit<K> {
    pub(super) per_minute: u64,
    /// The time at which each bucket will be full again. A bucket that is absent is full.
    full_at: Mutex<HashMap<K, Timestamp>>,
}

impl<K: Clone + Eq + Hash + Ord> RateLimit<K> {
    pub(super) fn new(per_minute: u64) -> Self {
        Self { per_minute, full_at: Mutex::default() }
    }

    /// Takes `count` tokens, or returns the time to wait. The last request may take more than is left; the
    /// rest is owed.
    pub(super) fn take(&self, key: &K, count: u64, now: Steady) -> Result<(), Duration> {
        self.take_all(&BTreeMap::from([(key, count)]), now).map_err(|(_, wait)| wait)
    }

    /// Takes from several buckets, or from none of them.
    pub(super) fn take_all<'a>(
        &self,
        counts: &BTreeMap<&'a K, u64>,
        now: Steady,
    ) -> Result<(), (&'a K, Duration)> {
        let mut all = lock(&self.full_at);
        for key in counts.keys() {
            let missing = all.get(*key).map_or(Duration::ZERO, |full_at| full_at.since(now.0));
            if missing >= BURST {
                // A second longer, so that the retry finds more than one token.
                return Err((key, missing - BURST + Duration::from_secs(1)));
            }
        }
        if all.len() > MAX_FULL {
            all.retain(|_, full_at| *full_at > now.0);
        }
        for (key, count) in counts {
            let full_at = all.get(*key).copied().unwrap_or(now.0).max(now.0);
            all.insert((*key).clone(), full_at.plus(self.time_of(*count)));
        }
        Ok(())
    }

    /// The number of tokens used.
    pub(super) fn used(&self, key: &K, now: Steady) -> u64 {
        let missing = lock(&self.full_at).get(key).map_or(Duration::ZERO, |full_at| full_at.since(now.0));
        let used = u128::from(self.per_minute) * missing.as_micros() / BURST.as_micros();
        u64::try_from(used).unwrap_or(u64::MAX)
    }

    pub(super) fn forget(&self, key: &K) {
        lock(&self.full_at).remove(key);
    }

    /// The time in which this many tokens are added.
    fn time_of(&self, count: u64) -> Duration {
        let micros = u128::from(count) * BURST.as_micros() / u128::from(self.per_minute.max(1));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(secs: u64) -> Steady {
        Steady(Timestamp::from_micros(1_795_473_000_000_000).plus(Duration::from_secs(secs)))
    }

    #[test]
    fn the_tokens_of_a_minute_may_be_used_at_once_and_are_refilled() {
        let pace: RateLimit<&str> = RateLimit::new(60);

        assert_eq!(pace.take(&"a", 60, after(0)), Ok(()));
        assert_eq!(pace.take(&"a", 1, after(0)), Err(Duration::from_secs(1)));
        assert_eq!(pace.take(&"b", 1, after(0)), Ok(()));
        assert_eq!(pace.take(&"a", 1, after(1)), Ok(()));
        assert_eq!((pace.used(&"a", after(1)), pace.used(&"b", after(1))), (60, 0));
        assert_eq!(pace.take(&"a", 60, after(61)), Ok(()));
    }

    #[test]
    fn more_than_there_is_may_be_taken_once_and_is_owed() {
        let pace: RateLimit<&str> = RateLimit::new(60);

        assert_eq!(pace.take(&"a", 120, after(0)), Ok(()));

        assert_eq!(pace.take(&"a", 1, after(59)), Err(Duration::from_secs(2)));
        assert_eq!(pace.take(&"a", 1, after(61)), Ok(()));
    }

    #[test]
    fn several_are_taken_together_or_not_at_all() {
        let pace: RateLimit<&str> = RateLimit::new(60);
        pace.take(&"b", 60, after(0)).unwrap();

        let refused = pace.take_all(&BTreeMap::from([(&"a", 60), (&"b", 1)]), after(0));

        assert_eq!(refused, Err((&"b", Duration::from_secs(1))));
        assert_eq!(pace.used(&"a", after(0)), 0);
    }
}
