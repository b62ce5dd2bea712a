//! Gaps that modules report.

use iotpi_core::{
    ModuleId,
    model::{
        gap::{MAX_GAP_SERIES, NewGap},
        reading::MAX_SEQ,
    },
};

use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
};

impl Hub {
    /// Stores a gap: numbered readings of a module that will never arrive. A repeated report is stored once.
    ///
    /// # Errors
    /// `PermissionDenied`, `InvalidArgument` (numbers out of range), `Unprocessable` (it ends before it
    /// begins, or its series lost more than the total), `TooLarge`, the store's.
    ///
    /// # Cancel safety
    /// Stored completely or not at all.
    pub async fn record_gap(&self, caller: &Caller, module_id: &ModuleId, gap: &NewGap) -> Result<()> {
        caller.may_deliver_as(module_id)?;
        check(gap)?;
        self.check_delivery_rate(caller, std::iter::repeat_n(module_id, 1 + gap.series.len()))?;
        self.check_space()?;
        self.touch_module(caller, module_id).await?;
        let recorded = self.inner.store.record_gap(module_id, gap, self.now()).await;
        recorded.inspect_err(|error| self.note_storage_full(error))?;
        self.changed(module_id);
        Ok(())
    }
}

fn check(gap: &NewGap) -> Result<()> {
    for (field, number) in [("/epoch", gap.epoch), ("/first_seq", gap.first_seq), ("/last_seq", gap.last_seq)]
    {
        if !(1..=MAX_SEQ).contains(&number) {
            return Err(HubError::invalid_argument("1 to 2^53 - 1").at(field));
        }
    }
    if gap.series.len() > MAX_GAP_SERIES {
        return Err(HubError::too_large(format!("{} series; 64 may be", gap.series.len())).at("/series"));
    }
    if gap.last_seq < gap.first_seq {
        return Err(HubError::unprocessable("the gap ends before it begins").at("/last_seq"));
    }
    for (i, series) in gap.series.iter().enumerate() {
        if series.until < series.since {
            return Err(HubError::unprocessable("it ends before it begins").at(format!("/series/{i}/until")));
        }
    }
    let named = gap.series.iter().try_fold(0_u64, |sum, series| sum.checked_add(series.lost));
    if named.is_none_or(|named| named > gap.lost()) {
        return Err(HubError::unprocessable("the series lost more than there are numbers").at("/series"));
    }
    Ok(())
}
