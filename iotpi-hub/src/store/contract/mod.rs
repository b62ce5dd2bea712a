//! The contract of the store: one test for each promise that every engine must keep. An engine provides only
//! a function that opens an empty store.
//!
//! ```no_run
//! # mod engine {
//! use std::sync::Arc;
//! use iotpi_hub::store::{self, Store};
//!
//! /// An empty store, and a guard that must live as long as the store.
//! async fn fresh() -> (Arc<dyn Store>, impl Sized) {
//!     (store::open("sqlite::memory:").await.expect("a database in memory"), ())
//! }
//!
//! iotpi_hub::store_contract!(fresh);
//! # }
//! # fn main() {}
//! ```
#![allow(missing_docs, reason = "the name of a promise is its documentation")]
#![allow(clippy::missing_panics_doc, reason = "a broken promise panics")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

pub mod buckets;
pub mod channels;
pub mod commands;
pub mod dedup;
pub mod engine;
pub mod fairness;
pub mod frame_index;
pub mod maintenance;
pub mod modules;
pub mod pages;
pub mod readings;
pub mod started;
pub mod submission;
pub mod users;

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use iotpi_core::{ModuleId, Timestamp, model::page::Page};

use super::{Now, PageRequest, Steady, Store};

/// Generates one test for each promise. Its argument is an async function that returns an empty store and a
/// guard.
#[macro_export]
macro_rules! store_contract {
    ($fresh:ident) => {
        $crate::store_contract! { @list tests $fresh }
    };
    (@list $expand:ident $($fresh:ident)?) => {
        $crate::store_contract! { @$expand $($fresh)?;
            readings:
                a_reading_is_returned_as_it_was_recorded,
                a_value_that_is_not_finite_is_stored_as_no_data,
                unknown_modules_are_created_and_returned_once,
                a_batch_is_stored_completely_or_not_at_all,
                a_reading_in_another_unit_than_its_series_is_refused,
                the_number_of_series_is_limited,
                readings_are_filtered_by_module_and_time,
                readings_of_one_microsecond_are_ordered_by_module_then_arrival,
                readings_are_paged_in_ascending_and_descending_order,
                a_cursor_continues_in_order_after_new_readings_arrived,
                a_cursor_of_another_list_is_refused,
                the_newest_reading_of_each_series_is_chosen_by_taken_at,
                recent_readings_of_a_series_are_ordered_oldest_first,
                readings_after_the_latest_time_do_not_hide_earlier_ones,
                readings_are_aggregated_into_buckets,
                buckets_are_paged_by_start_then_module,
                buckets_contain_only_readings_of_the_queried_range,
            ;
            pages:
                readings_of_the_same_moment_have_one_order_for_every_page_size,
                late_readings_appear_when_pages_are_read_again,
                modules_with_disjoint_time_ranges_are_merged_into_one_list,
                a_cursor_over_all_modules_continues_after_writes_and_a_compaction,
                a_removed_module_disappears_when_pages_are_read_again,
                expired_readings_disappear_when_pages_are_read_again,
                pages_follow_a_latest_time_that_advances,
            ;
            buckets:
                buckets_of_any_width_are_correct_at_any_sampling_rate,
                buckets_are_correct_for_a_range_that_is_not_aligned,
                late_readings_are_added_to_every_bucket,
                buckets_are_correct_when_the_sampling_rate_changes,
                buckets_are_unchanged_after_their_readings_expire,
                rollups_of_each_width_expire_separately_and_wider_ones_remain,
                rollups_of_readings_that_are_still_stored_do_not_expire,
            ;
            channels:
                each_channel_of_a_type_is_a_series,
                the_channels_of_a_custom_type_may_have_different_units,
                readings_are_filtered_by_channel_in_pages_of_every_size,
                buckets_are_filtered_by_channel_in_pages_of_every_size,
                gaps_and_delivery_accounts_are_kept_for_each_channel,
                removing_a_module_removes_all_its_channels,
            ;
            dedup:
                a_numbered_reading_is_stored_once,
                a_sequence_number_is_unique_only_within_its_module_and_epoch,
                readings_without_sequence_numbers_are_never_deduplicated,
                sequence_numbers_of_a_refused_batch_are_not_recorded,
                a_backlog_delivered_after_newer_readings_fills_the_missing_numbers,
                every_sequence_number_is_counted_as_received_lost_or_missing,
                a_reading_that_arrives_after_its_gap_is_not_counted_as_lost,
                a_gap_is_listed_once_for_each_series_and_once_for_unknown_series,
                gaps_are_filtered_by_module_type_and_time,
                only_the_newest_gaps_of_a_module_are_stored,
                removing_a_module_deletes_its_gaps_and_sequence_numbers,
                epochs_too_old_for_deduplication_stay_in_the_delivery_account,
            ;
            modules:
                a_registered_module_is_returned_with_its_manifest,
                a_second_manifest_replaces_the_first,
                a_reported_state_replaces_the_previous_one,
                a_state_is_stored_although_the_report_on_a_command_is_refused,
                the_last_touch_sets_last_seen_at_even_to_an_earlier_time,
                modules_are_listed_by_id,
                removing_a_module_deletes_everything_that_belongs_to_it,
                removing_an_unknown_module_is_refused,
            ;
            commands:
                a_submitted_command_is_queued,
                a_command_for_an_unknown_module_is_refused,
                a_command_with_an_existing_id_is_refused,
                the_number_of_unfinished_commands_of_a_module_is_limited,
                commands_are_claimed_in_order_of_submission,
                no_command_is_claimed_while_one_of_the_module_is_leased,
                concurrent_claims_never_return_the_same_command,
                a_command_past_its_deadline_is_never_claimed,
                an_outcome_finishes_a_command,
                a_repeated_report_changes_nothing,
                a_different_second_outcome_is_refused,
                a_report_without_the_current_lease_is_refused,
                another_modules_command_cannot_be_finished,
                an_unreported_command_is_queued_again_when_its_lease_ends,
                a_command_that_is_queued_again_keeps_its_position,
                a_command_is_dead_after_the_maximum_number_of_leases,
                a_command_past_its_deadline_expires,
                a_leased_command_does_not_expire_before_its_lease_ends,
                a_sweep_returns_the_next_deadline,
                only_a_queued_command_can_be_cancelled,
                a_clock_that_is_set_back_extends_no_lifetime_or_lease,
                a_clock_that_is_set_forward_extends_no_lifetime,
                commands_are_listed_newest_first,
            ;
            started:
                a_started_command_is_never_claimed_again,
                a_hazardous_command_that_was_not_started_is_queued_again,
                a_command_is_started_once_under_its_current_lease,
                a_command_cannot_be_started_after_its_lease_or_lifetime,
                starting_a_command_renews_its_lease_once,
                a_module_can_report_an_unknown_outcome,
            ;
            submission:
                an_absolute_command_supersedes_queued_ones_of_its_action_and_target,
                a_leased_command_is_not_superseded,
                a_superseded_command_does_not_count_towards_the_limit,
                a_refused_command_supersedes_nothing,
                a_repeated_request_with_the_same_key_returns_the_first_command,
                an_idempotency_key_with_a_different_request_is_refused,
                an_idempotency_key_is_valid_only_for_its_issuer_and_module,
                the_issuer_whose_presence_a_command_depends_on_is_stored,
                finished_commands_are_deleted_after_their_retention_time,
                the_oldest_finished_commands_over_the_limit_are_deleted,
                a_clock_that_jumps_ahead_deletes_no_command,
            ;
            users:
                the_first_user_can_be_added_only_once,
                a_session_is_valid_until_its_end_in_steady_time,
                a_session_can_be_ended_before_its_end_time,
                a_session_of_an_unknown_user_is_refused,
                a_token_is_found_by_its_secret,
                a_second_token_with_the_same_name_is_refused,
                the_last_use_of_a_token_is_stored_to_the_hour,
                a_revoked_token_is_deleted,
                tokens_are_listed_by_name,
                users_have_unique_names_and_are_listed_by_name,
                a_new_password_ends_the_sessions_of_its_user,
                the_last_admin_can_be_neither_demoted_nor_removed,
                the_first_value_of_a_hub_secret_is_stored_and_returned,
            ;
            maintenance:
                expiry_deletes_old_readings_but_never_the_newest_of_a_series,
                a_dry_run_deletes_nothing_and_returns_the_same_counts,
                rollups_remain_after_their_readings_and_expire_separately,
                an_expiry_plan_without_a_time_deletes_nothing,
                gaps_expire_with_their_readings_and_their_numbers_stay_lost,
                the_first_expiry_rule_that_matches_a_series_applies,
                writes_are_acknowledged_between_the_steps_of_an_expiry,
                eviction_deletes_the_oldest_readings_first_and_ends,
                a_note_is_stored_and_replaced,
                verification_finds_a_store_sound_and_counts_its_rows,
                disk_use_includes_the_space_that_eviction_freed,
                a_backup_is_a_snapshot_of_one_moment,
                a_backup_never_replaces_a_file,
            ;
            fairness:
                a_module_over_its_share_is_evicted_before_any_other,
                two_modules_over_their_share_are_evicted_before_any_other,
                a_module_stays_over_its_share_after_its_burst_has_ended,
                the_share_of_a_module_covers_all_its_series,
                modules_without_tokens_count_as_one_writer,
                evicting_backdated_readings_deletes_their_minutes_but_not_their_days,
                recent_readings_are_not_evicted_if_no_module_is_over_its_share,
                a_module_that_grew_by_less_than_the_spared_size_is_not_over_its_share,
            ;
            frame_index:
                recording_settings_are_stored_and_replaced,
                indexed_frames_are_listed_by_time_for_every_page_size,
                frames_of_a_clock_that_was_set_back_are_ordered_by_time,
                frames_indexed_twice_are_stored_once,
                the_nearest_next_and_previous_frame_of_a_moment_are_found,
                the_segments_of_a_clip_are_listed_as_one_clip,
                a_tombstone_deletes_its_segment_from_the_index_and_stays_until_removed,
                removing_a_module_adds_tombstones_for_its_segments,
            ;
            engine:
                concurrent_writes_are_all_stored,
                a_cancelled_write_happens_completely_or_not_at_all,
                closing_completes_writes_in_progress,
                a_closed_store_returns_closed,
            ;
        }
    };
    (@tests $fresh:ident; $($file:ident: $($promise:ident,)* ;)*) => {$(
        mod $file {
            $(
                #[tokio::test]
                async fn $promise() {
                    let (store, _guard) = super::$fresh().await;
                    $crate::store::contract::$file::$promise(store).await;
                }
            )*
        }
    )*};
    (@names; $($file:ident: $($promise:ident,)* ;)*) => {
        [$($(concat!(stringify!($file), "::", stringify!($promise)),)*)*]
    };
}

/// The maximum number of series in these tests.
const MAX_SERIES: u64 = 10_000;

fn start() -> Timestamp {
    Timestamp::from_micros(1_795_472_000_000_000)
}

/// The time `secs` seconds after [`start`]. The steady clock is slightly behind, which is allowed.
fn after(secs: u64) -> Now {
    let wall = start().plus(Duration::from_secs(secs));
    Now { wall, steady: Steady(wall.minus(Duration::from_millis(250))) }
}

fn module(id: &str) -> ModuleId {
    ModuleId::new(id).unwrap()
}

fn page(limit: u32) -> PageRequest {
    PageRequest { limit, cursor: None }
}

/// Reads all pages of a list. Returns its items, and the number of items on each page.
pub(in crate::store) async fn all_pages<T>(
    limit: u32,
    mut next: impl AsyncFnMut(PageRequest) -> Page<T>,
) -> (Vec<T>, Vec<usize>) {
    let (mut items, mut sizes) = (Vec::new(), Vec::new());
    let mut request = page(limit);
    loop {
        let page = next(request).await;
        sizes.push(page.items.len());
        assert!(sizes.len() < 10_000, "the list has a last page");
        items.extend(page.items);
        match page.next {
            None => return (items, sizes),
            cursor => request = PageRequest { limit, cursor },
        }
    }
}

/// Awaits an event that always happens if the engine keeps its promises. The limit only ends a test that
/// hangs.
pub(in crate::store) async fn bounded<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), event).await.expect("the event happens within a minute")
}

/// Calls `write` until `task` is ready, and polls `task` once before each call: a write completes before
/// `task` can continue. Returns the result of `task` and the number of writes.
async fn interleave<T>(task: impl Future<Output = T>, mut write: impl AsyncFnMut(u64)) -> (T, u64) {
    let mut task = pin!(task);
    let mut written = 0;
    loop {
        match poll_fn(|context| Poll::Ready(task.as_mut().poll(context))).await {
            Poll::Ready(result) => return (result, written),
            Poll::Pending => write(written).await,
        }
        written += 1;
    }
}

/// Creates a module.
async fn add_module(store: &Arc<dyn Store>, id: &str) -> ModuleId {
    let id = module(id);
    store.touch(&[(id.clone(), start())], after(0)).await.unwrap();
    id
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    /// The folder is read, so that neither a file nor a promise can be left out of the list.
    #[test]
    fn every_promise_in_the_folder_is_in_the_list_of_its_file() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/contract");
        let mut written = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let file = name.strip_suffix(".rs").unwrap_or_else(|| panic!("{name} is not a file of promises"));
            if file == "mod" {
                continue;
            }
            let source = fs::read_to_string(format!("{folder}/{name}")).unwrap();
            let promise = |line: &str| {
                let name = line.strip_prefix("pub async fn ")?.strip_suffix("(store: Arc<dyn Store>) {");
                let name = name.unwrap_or_else(|| panic!("{file}: `{line}` is not a promise"));
                Some(format!("{file}::{name}"))
            };
            let before = written.len();
            written.extend(source.lines().filter_map(promise));
            assert!(written.len() > before, "{file} has no promises");
        }

        let listed = BTreeSet::from(crate::store_contract!(@list names).map(str::to_owned));

        let difference: Vec<_> = written.symmetric_difference(&listed).collect();
        assert!(difference.is_empty(), "only in the folder or only in `store_contract!`: {difference:?}");
    }
}
