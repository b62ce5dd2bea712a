//! Random numbers, not for secrets.

use std::hash::{BuildHasher, RandomState};

/// 64 random bits. The keys of a new [`RandomState`] are random: the standard library takes them from the operating
/// system.
pub(crate) fn bits() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_call_returns_other_bits() {
        let all: std::collections::HashSet<_> = (0..1000).map(|_| super::bits()).collect();

        assert_eq!(all.len(), 1000);
    }
}
