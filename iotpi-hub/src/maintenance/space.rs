//! When there is too little room.

use crate::store::DiskUse;

/// Of what is reusable so much is not counted: pages come free in places where the next write has no use for them.
const SCATTERED: u64 = 8 << 20;

/// How much room there is, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    /// Of the disk, free.
    pub(crate) free: u64,
    /// Of the database, what will be used again before it grows.
    pub(crate) reusable: u64,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SpaceState {
    /// There is room.
    #[default]
    Room,
    /// Less than the mark, which thinning out can mend.
    Low,
    /// So little of the disk itself is free that a commit may not find room for its WAL, and little is reusable: thinning out frees
    /// none of the disk.
    Out,
}

impl FreeSpace {
    pub(crate) fn new(free: u64, taken: DiskUse) -> Self {
        Self { free, reusable: taken.reusable_bytes }
    }

    /// How it stands against the mark. Once low, it takes an eighth more than the mark to be well again, so that it does
    /// not change its mind with every write.
    pub(crate) fn state(self, mark: u64, was_low: bool) -> SpaceState {
        let more = if was_low { mark / 8 } else { 0 };
        let room = self.free.saturating_add(self.reusable.saturating_sub(SCATTERED));
        if mark == 0 || room >= mark + more {
            SpaceState::Room
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
    fn what_is_reusable_counts_as_room_but_not_as_disk() {
        assert_eq!(state(256, 0, false), SpaceState::Room);
        assert_eq!(state(255, 0, false), SpaceState::Low);
        assert_eq!(state(100, 164, false), SpaceState::Room);
        assert_eq!(state(100, 163, false), SpaceState::Low);
        assert_eq!(state(31, 232, false), SpaceState::Out);
        assert_eq!(state(0, 264, false), SpaceState::Room, "a module was removed: its pages are used again");
    }

    #[test]
    fn once_low_it_takes_more_to_be_well_again() {
        assert_eq!(state(256, 0, true), SpaceState::Low);
        assert_eq!(state(288, 0, true), SpaceState::Room);
        assert_eq!(state(40, 200, true), SpaceState::Out);
        assert_eq!(state(48, 200, true), SpaceState::Low);
        assert_eq!(state(40, 256, true), SpaceState::Room);
    }

    #[test]
    fn a_mark_of_nothing_is_never_met() {
        assert_eq!(FreeSpace { free: 0, reusable: 0 }.state(0, true), SpaceState::Room);
    }
}
