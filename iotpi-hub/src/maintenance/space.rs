//! The state of the free space.

use crate::store::DiskUse;

/// This much of the reusable space is not counted: pages become free in places that the next write cannot
/// use.
const SCATTERED: u64 = 8 << 20;

/// The free space in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    /// Free bytes on the disk.
    pub(crate) free: u64,
    /// Free bytes inside the database.
    pub(crate) reusable: u64,
}

/// The state of the free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SpaceState {
    /// There is enough space.
    #[default]
    Enough,
    /// Less than the mark, which eviction can change.
    Low,
    /// The disk itself has so little space that a commit may fail to extend the WAL, and little is reusable.
    /// Eviction frees no disk space.
    Out,
}

impl FreeSpace {
    pub(crate) fn new(free: u64, taken: DiskUse) -> Self {
        Self { free, reusable: taken.reusable_bytes }
    }

    /// The state against the mark. Once low, it takes an eighth more than the mark to return to normal, so
    /// that it does not change with every write.
    pub(crate) fn state(self, mark: u64, was_low: bool) -> SpaceState {
        let more = if was_low { mark / 8 } else { 0 };
        let available = self.free.saturating_add(self.reusable.saturating_sub(SCATTERED));
        if mark == 0 || available >= mark + more {
            SpaceState::Enough
        } else if self.free < mark / 8 + more / 2 {
            SpaceState::Out
        } else {
            SpaceState::Low
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn state(free_mib: u64, reusable_mib: u64, was_low: bool) -> SpaceState {
        FreeSpace { free: free_mib * MIB, reusable: reusable_mib * MIB }.state(256 * MIB, was_low)
    }

    #[test]
    fn reusable_pages_count_as_space_of_the_database_but_not_of_the_disk() {
        assert_eq!(state(256, 0, false), SpaceState::Enough);
        assert_eq!(state(255, 0, false), SpaceState::Low);
        assert_eq!(state(100, 164, false), SpaceState::Enough);
        assert_eq!(state(100, 163, false), SpaceState::Low);
        assert_eq!(state(31, 232, false), SpaceState::Out);
        assert_eq!(
            state(0, 264, false),
            SpaceState::Enough,
            "a module was removed: its pages are used again"
        );
    }

    #[test]
    fn low_space_ends_above_the_mark() {
        assert_eq!(state(256, 0, true), SpaceState::Low);
        assert_eq!(state(288, 0, true), SpaceState::Enough);
        assert_eq!(state(40, 200, true), SpaceState::Out);
        assert_eq!(state(48, 200, true), SpaceState::Low);
        assert_eq!(state(40, 256, true), SpaceState::Enough);
    }

    #[test]
    fn a_mark_of_zero_is_never_reached() {
        assert_eq!(FreeSpace { free: 0, reusable: 0 }.state(0, true), SpaceState::Enough);
    }
}
