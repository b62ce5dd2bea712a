//! The order of records over all modules: boundaries between them, and the names of series.

use std::cmp::Ordering;

use iotpi_core::{ModuleId, Quantity};

/// The names of a series, shared by its records.
#[derive(Debug, PartialEq)]
pub(crate) struct Name {
    pub(crate) module_id: ModuleId,
    pub(crate) quantity: Quantity,
}

/// A boundary in the order of a type's records, by time and then module: before or after all records of one
/// module and microsecond, or before all records of a microsecond.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Boundary {
    pub(crate) us: i64,
    pub(crate) module: Option<ModuleId>,
    pub(crate) behind: bool,
}

impl Boundary {
    pub(crate) const FIRST: Self = Self::at(i64::MIN);
    pub(crate) const LAST: Self = Self::at(i64::MAX);

    /// Before the records of this microsecond.
    pub(crate) const fn at(us: i64) -> Self {
        Self { us, module: None, behind: false }
    }

    /// Before the records of this module and microsecond.
    pub(crate) fn before(us: i64, module: ModuleId) -> Self {
        Self { us, module: Some(module), behind: false }
    }

    /// After the records of this module and microsecond.
    pub(crate) fn behind(us: i64, module: ModuleId) -> Self {
        Self { us, module: Some(module), behind: true }
    }

    /// Whether the boundary is before a record of this module and microsecond.
    pub(crate) fn is_before(&self, us: i64, module: &ModuleId) -> bool {
        let record = self.us.cmp(&us).then_with(|| match &self.module {
            None => Ordering::Less,
            Some(of) => of.cmp(module).then(if self.behind { Ordering::Greater } else { Ordering::Less }),
        });
        record == Ordering::Less
    }
}
