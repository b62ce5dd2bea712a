//! What every engine promises, each promise a test. An engine only says how it opens an empty store.
//!
//! ```no_run
//! # mod engine {
//! use std::sync::Arc;
//! use iotpi_hub::store::{self, Store};
//!
//! /// An empty store, and what must live as long as it does.
//! async fn fresh() -> (Arc<dyn Store>, impl Sized) {
//!     (store::open("sqlite::memory:").await.expect("a database in memory"), ())
//! }
//!
//! iotpi_hub::store_contract!(fresh);
//! # }
//! # fn main() {}
//! ```
#![allow(missing_docs, reason = "the name of a promise is its sentence")]
#![allow(clippy::missing_panics_doc, reason = "a promise that is broken panics")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

pub mod buckets;
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

use std::{sync::Arc, time::Duration};

use iotpi_core::{ModuleId, Page, Timestamp};

use super::{Now, PageRequest, Steady, Store};

/// Generates one test a promise. Give it the name of an async function that answers an empty store and a guard.
#[macro_export]
macro_rules! store_contract {
    ($fresh:ident) => {
        $crate::store_contract! { @promises $fresh;
            readings:
                a_record_is_read_back_as_it_was_taken,
                a_number_that_is_none_is_kept_as_a_gap,
                new_modules_are_named_once_and_known_from_then_on,
                a_batch_is_kept_whole_or_not_at_all,
                a_series_keeps_its_unit,
                series_are_limited,
                records_are_found_by_module_and_time,
                records_of_one_microsecond_come_by_module_and_then_as_they_arrived,
                records_go_either_way_on_every_page,
                a_page_goes_on_behind_what_came_meanwhile,
                a_cursor_of_another_list_is_refused,
                the_newest_record_of_each_series_is_the_latest_taken,
                the_recent_records_of_a_series_come_oldest_first,
                records_ahead_of_the_time_asked_for_hide_nothing,
                stretches_are_summed_up,
                stretches_are_paged_in_order,
                stretches_keep_to_the_time_asked_for,
            ;
            pages:
                modules_that_measure_at_the_same_moment_come_in_one_order_on_every_page,
                records_that_arrive_late_are_on_pages_that_were_read_before,
                modules_that_were_never_there_together_are_on_one_list,
                a_page_over_all_modules_goes_on_behind_its_cursor_whatever_happened,
                a_removed_module_is_on_no_page_that_was_read_before,
                what_retention_took_is_on_no_page_that_was_read_before,
                a_latest_time_that_moves_on_is_kept_to,
            ;
            buckets:
                stretches_of_any_width_are_summed_up_at_any_rate,
                stretches_of_a_time_that_begins_anywhere_are_summed_up,
                records_that_come_late_correct_every_stretch,
                a_series_may_come_at_another_rate_at_any_time,
                stretches_outlive_the_records_they_sum_up,
                each_width_goes_by_its_own_rule_and_wider_ones_stay,
                sums_of_records_that_are_kept_are_kept_too,
            ;
            dedup:
                a_numbered_reading_is_kept_once,
                the_same_number_of_another_module_or_epoch_is_another_reading,
                readings_without_numbers_are_kept_as_they_come,
                numbers_of_a_refused_batch_are_not_taken,
                a_backlog_beside_the_present_fills_its_hole,
                every_number_is_received_lost_or_missing,
                what_arrives_after_all_is_not_lost,
                a_gap_is_listed_for_each_series_and_for_what_nobody_knows,
                gaps_are_found_by_module_type_and_time,
                a_module_with_very_many_gaps_keeps_the_newest,
                a_removed_modules_numbers_are_forgotten,
                counts_too_old_to_be_remembered_are_still_counted,
            ;
            modules:
                a_registered_module_is_read_back,
                a_second_manifest_replaces_the_first,
                the_last_state_wins,
                a_state_is_stored_although_the_report_on_a_command_is_refused,
                a_module_was_seen_when_it_was_last_touched,
                modules_are_listed_by_id,
                a_removed_module_leaves_nothing_behind,
                a_module_nobody_knows_cannot_be_removed,
            ;
            commands:
                a_submitted_command_waits,
                a_command_for_nobody_is_refused,
                a_second_command_of_the_same_id_is_refused,
                waiting_commands_are_limited,
                commands_are_claimed_oldest_first,
                while_a_command_is_leased_no_later_one_is,
                claims_at_once_never_share_a_command,
                an_overdue_command_is_never_handed_over,
                an_outcome_ends_a_command,
                the_same_report_twice_is_one,
                a_second_outcome_is_refused,
                only_the_present_claim_may_report,
                another_modules_command_cannot_be_finished,
                a_lost_claim_comes_back_when_its_lease_ends,
                a_command_that_came_back_keeps_its_place,
                a_command_claimed_too_often_is_dead,
                what_outlived_its_time_expires,
                a_claim_that_holds_outlives_the_commands_time,
                a_sweep_says_when_the_next_is_due,
                a_queued_command_can_be_taken_back,
                a_clock_set_back_gives_no_command_more_than_its_time,
                a_clock_set_forward_gives_no_command_more_time,
                commands_are_listed_newest_first,
            ;
            started:
                a_command_that_was_begun_is_never_handed_over_again,
                a_hazardous_command_that_was_not_begun_comes_back,
                a_command_is_begun_once_under_its_present_claim,
                nothing_is_begun_when_its_claim_or_its_time_is_over,
                a_command_that_is_begun_has_a_whole_lease_to_end_in,
                a_module_may_say_that_it_does_not_know,
            ;
            submission:
                a_newer_order_for_the_same_target_supersedes_what_waits,
                a_leased_order_is_not_superseded,
                a_superseded_order_frees_its_place,
                an_order_that_is_refused_supersedes_nothing,
                the_same_request_under_one_key_is_one_command,
                a_key_of_another_request_is_refused,
                a_key_belongs_to_one_issuer_and_one_module,
                an_order_says_whose_presence_it_depends_on,
                ended_commands_are_forgotten_when_they_are_old,
                ended_commands_are_forgotten_when_they_are_many,
                a_clock_that_jumps_ahead_makes_no_command_old,
            ;
            users:
                only_one_user_is_the_first,
                a_session_lasts_until_it_ends,
                a_session_can_be_ended_early,
                a_session_needs_a_user,
                a_token_is_found_by_its_secret,
                token_names_are_taken_once,
                a_tokens_use_is_kept_to_the_hour,
                a_revoked_token_is_gone,
                tokens_are_listed_by_name,
                a_user_is_added_once_and_listed_by_name,
                a_new_password_ends_the_sessions_of_its_user,
                the_only_admin_is_neither_demoted_nor_removed,
                a_secret_of_the_hub_stays_what_it_was,
            ;
            maintenance:
                old_records_go_and_the_newest_of_each_series_stays,
                a_dry_run_takes_nothing_and_says_what_would_go,
                summaries_outlive_the_records_and_go_by_their_own_rule,
                a_plan_without_an_end_takes_nothing,
                gaps_go_with_the_readings_and_their_numbers_stay_lost,
                series_are_kept_as_their_rule_says,
                an_expiry_keeps_no_write_waiting,
                thinning_takes_the_oldest_first_until_there_are_none,
                a_note_is_read_back_and_replaced,
                what_is_kept_is_found_sound_and_counted,
                what_it_takes_of_the_disk_is_known,
                a_backup_is_everything_at_one_moment,
                a_backup_never_replaces_a_file,
            ;
            fairness:
                a_module_that_grew_lately_gives_its_own_before_anybody_elses,
                two_modules_that_grew_lately_give_before_the_others,
                a_burst_is_not_forgiven_when_it_is_over,
                many_series_of_a_module_hide_nothing,
                modules_without_tokens_are_one_party,
                a_flood_with_false_times_leaves_no_short_sums,
                where_nobody_is_over_their_share_what_is_young_stays,
                whose_data_is_too_little_to_fill_a_disk_keeps_what_is_young,
            ;
            frame_index:
                recording_settings_are_read_back_and_replaced,
                indexed_frames_are_found_by_time_on_every_page,
                frames_of_a_clock_that_was_set_back_come_in_the_order_of_their_times,
                frames_indexed_twice_are_stored_once,
                a_frame_is_found_near_after_and_before_a_moment,
                segments_of_one_clip_are_one_recording,
                segments_with_tombstones_leave_the_index_until_their_files_are_removed,
                a_removed_modules_segments_get_tombstones,
            ;
            engine:
                writes_at_once_are_all_kept,
                a_cancelled_write_happens_wholly_or_not_at_all,
                closing_finishes_what_was_begun,
                a_closed_store_answers_closed,
            ;
        }
    };
    (@promises $fresh:ident; $($part:ident: $($promise:ident,)* ;)*) => {$(
        mod $part {
            $(
                #[tokio::test]
                async fn $promise() {
                    let (store, _guard) = super::$fresh().await;
                    $crate::store::contract::$part::$promise(store).await;
                }
            )*
        }
    )*};
}

/// The hub's limit on series in these tests.
const MANY: u64 = 10_000;

fn start() -> Timestamp {
    Timestamp::from_micros(1_795_472_000_000_000)
}

/// So many seconds after the tests' beginning, on both clocks; the steady one is a little behind, as it may be.
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

/// Follows a list to its end: its items, and how many each page had.
async fn all<T>(limit: u32, mut next: impl AsyncFnMut(PageRequest) -> Page<T>) -> (Vec<T>, Vec<usize>) {
    let (mut items, mut sizes) = (Vec::new(), Vec::new());
    let mut request = page(limit);
    loop {
        let page = next(request).await;
        sizes.push(page.items.len());
        items.extend(page.items);
        match page.next {
            None => return (items, sizes),
            cursor => request = PageRequest { limit, cursor },
        }
    }
}

/// A module the store knows.
async fn known(store: &Arc<dyn Store>, id: &str) -> ModuleId {
    let id = module(id);
    store.touch(&[(id.clone(), start())], after(0)).await.unwrap();
    id
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_promise_is_in_the_list() {
        let list = include_str!("mod.rs");
        for part in [
            include_str!("readings.rs"),
            include_str!("buckets.rs"),
            include_str!("dedup.rs"),
            include_str!("modules.rs"),
            include_str!("started.rs"),
            include_str!("commands.rs"),
            include_str!("submission.rs"),
            include_str!("pages.rs"),
            include_str!("users.rs"),
            include_str!("maintenance.rs"),
            include_str!("engine.rs"),
            include_str!("fairness.rs"),
            include_str!("frame_index.rs"),
        ] {
            let promises =
                part.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
            for promise in promises {
                assert!(list.contains(&format!(" {promise},\n")), "{promise} is not in `store_contract!`");
            }
        }
    }
}
