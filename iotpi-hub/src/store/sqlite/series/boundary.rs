//! The order of records over all modules: boundaries between them, and the names of series.

use std::cmp::Ordering;

use iotpi_core::{Channel, ModuleId, Quantity, Reading};
use serde::{Deserialize, Serialize};

/// The origin of a series, which distinguishes it from others of its type: the module, and a channel of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) module_id: ModuleId,
    pub(crate) channel: Option<Channel>,
}

impl Origin {
    pub(crate) fn of(reading: &Reading) -> Self {
        Self { module_id: reading.module_id.clone(), channel: reading.channel.clone() }
    }
}

/// The names of a series, shared by its records.
#[derive(Debug, PartialEq)]
pub(crate) struct Name {
    pub(crate) origin: Origin,
    pub(crate) quantity: Quantity,
}

/// A boundary in the order of a type's records, by time and then origin: before or after all records of one
/// source and microsecond, or before all records of a microsecond.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Boundary {
    pub(crate) us: i64,
    pub(crate) origin: Option<Origin>,
    pub(crate) behind: bool,
}

impl Boundary {
    pub(crate) const FIRST: Self = Self::at(i64::MIN);
    pub(crate) const LAST: Self = Self::at(i64::MAX);

    /// Before the records of this microsecond.
    pub(crate) const fn at(us: i64) -> Self {
        Self { us, origin: None, behind: false }
    }

    /// Before the records of this origin and microsecond.
    pub(crate) fn before(us: i64, origin: Origin) -> Self {
        Self { us, origin: Some(origin), behind: false }
    }

    /// After the records of this origin and microsecond.
    pub(crate) fn behind(us: i64, origin: Origin) -> Self {
        Self { us, origin: Some(origin), behind: true }
    }

    /// Whether the boundary is before a record of this origin and microsecond.
    pub(crate) fn is_before(&self, us: i64, origin: &Origin) -> bool {
        let record = self.us.cmp(&us).then_with(|| match &self.origin {
            None => Ordering::Less,
            Some(of) => of.cmp(origin).then(if self.behind { Ordering::Greater } else { Ordering::Less }),
        });
        record == Ordering::Less
    }
}
