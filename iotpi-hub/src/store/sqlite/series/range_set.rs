//! A set of numbers stored as ranges: the sequence numbers of an epoch that have arrived.

use crate::store::sqlite::varint;

/// The maximum number of ranges. A module sends its numbers in order, beside a backlog: two or three ranges.
/// Only a client that leaves out every second number needs more.
pub(crate) const MAX_RANGES: usize = 4096;

/// Numbers from 1 on, as disjoint ranges in ascending order that do not touch; both ends are inclusive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RangeSet(Vec<(u64, u64)>);

impl RangeSet {
    pub(crate) fn contains(&self, number: u64) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= number);
        behind.checked_sub(1).is_some_and(|at| number <= self.0[at].1)
    }

    /// Adds one number, nearly always the next of the last range.
    pub(crate) fn insert(&mut self, number: u64) {
        match self.0.last_mut() {
            Some((_, last)) if number == *last + 1 => *last = number,
            _ => self.insert_range(number, number),
        }
    }

    /// Adds all numbers from `first` to `last`.
    pub(crate) fn insert_range(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // Every range that overlaps or touches is merged with the new one.
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let until = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let merged = match self.0.get(from..until) {
            Some([]) | None => (first, last),
            Some(touched) => (first.min(touched[0].0), last.max(touched[touched.len() - 1].1)),
        };
        self.0.splice(from..until.max(from), [merged]);
    }

    /// Removes one number.
    pub(crate) fn remove(&mut self, number: u64) {
        if !self.contains(number) {
            return;
        }
        let at = self.0.partition_point(|(first, _)| *first <= number) - 1;
        let (first, last) = self.0[at];
        let halves = [(first, number - 1), (number + 1, last)];
        self.0.splice(at..=at, halves.into_iter().filter(|(first, last)| first <= last));
    }

    /// Adds all numbers of another set.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (first, last) in &other.0 {
            self.insert_range(*first, *last);
        }
    }

    /// Drops the first ranges, so that at most `most` remain.
    pub(crate) fn keep_last(&mut self, most: usize) {
        self.0.drain(..self.0.len().saturating_sub(most));
    }

    /// The number of numbers.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The greatest number; 0 if there is none.
    pub(crate) fn last(&self) -> u64 {
        self.0.last().map_or(0, |(_, last)| *last)
    }

    /// Its ranges.
    pub(crate) fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Its last ranges, up to `most`.
    pub(crate) fn newest(&self, most: usize) -> Self {
        Self(self.0[self.0.len().saturating_sub(most)..].to_vec())
    }

    /// The stored form: the distances between the ends, as varints.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut at = 0;
        for (first, last) in &self.0 {
            varint::put(&mut bytes, first - at);
            varint::put(&mut bytes, last - first);
            at = *last;
        }
        bytes
    }

    /// Parses the result of [`Self::to_bytes`]; `None` if it is invalid.
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut at = 0_u64;
        while !bytes.is_empty() {
            let first = at.checked_add(varint::take(&mut bytes)?)?;
            let last = first.checked_add(varint::take(&mut bytes)?)?;
            ranges.push((first, last));
            at = last;
        }
        Some(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_set_equals_a_btree_set(
            steps in prop::collection::vec((1_u64..60, 0_u64..6), 0..40), removed in prop::collection::vec(1_u64..60, 0..9),
        ) {
            let (mut ranges, mut expected) = (RangeSet::default(), BTreeSet::new());

            for (first, length) in steps {
                if length == 0 { ranges.insert(first) } else { ranges.insert_range(first, first + length) }
                expected.extend(first..=first + length);
            }
            for number in removed {
                ranges.remove(number);
                expected.remove(&number);
            }

            prop_assert_eq!(ranges.len(), expected.len() as u64);
            prop_assert_eq!(ranges.last(), expected.last().copied().unwrap_or(0));
            for number in 0..70 {
                prop_assert_eq!(ranges.contains(number), expected.contains(&number));
            }
            prop_assert!(ranges.ranges().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{ranges:?}");
            prop_assert_eq!(RangeSet::from_bytes(&ranges.to_bytes()), Some(ranges));
        }
    }
}
