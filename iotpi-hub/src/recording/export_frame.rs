//! A frame of an export, as the plan and the file formats know it.

/// A frame of the export plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExportFrame {
    pub(super) at_us: i64,
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
}
