//! Commands, from submission to outcome.

use std::{sync::Arc, time::Duration};

use iotpi_core::{
    ActionName, NewCommand, Timestamp,
    model::{
        command::{Command, CommandOutcome, CommandReport, CommandState, LeasedCommand},
        id::UserName,
    },
};
use serde_json::{Value, json};

use super::{add_module, after, all_pages, module, page};
use crate::store::{CommandSubmission, DeadlineChanges, LeaseTerms, Now, Steady, Store, StoreError};

pub(super) const LEASE_SECS: u64 = 30;
pub(super) const TERMS: LeaseTerms = LeaseTerms { lease: Duration::from_secs(LEASE_SECS), max_attempts: 3 };
pub(super) const MAX_WAITING: u64 = 100;

/// A command with a lifetime of `secs` seconds.
pub(super) fn new_command(of: &str, id: &str, secs: u64) -> CommandSubmission {
    let params = json!({"on": true, "brightness": 40});
    CommandSubmission {
        id: id.into(),
        module_id: module(of),
        command: NewCommand::new(ActionName::new("set").unwrap()).with_params(params).unwrap(),
        time_to_live: Duration::from_secs(secs),
        issued_by: UserName::new("anna").unwrap(),
        issuer: None,
        idempotency_key: None,
        hazardous: false,
        target: None,
        while_alive: None,
    }
}

/// Creates a module `led` and queues these commands, each with a lifetime of an hour.
pub(super) async fn queue_commands(store: &Arc<dyn Store>, ids: &[&str]) {
    add_module(store, "led").await;
    for id in ids {
        store.submit(&new_command("led", id, 3600), MAX_WAITING, after(0)).await.unwrap();
    }
}

pub(super) async fn claim(store: &Arc<dyn Store>, limit: u32, now: Now) -> Vec<LeasedCommand> {
    store.claim(&module("led"), limit, TERMS, now).await.unwrap()
}

pub(super) async fn claim_one(store: &Arc<dyn Store>, now: Now) -> LeasedCommand {
    claim(store, 1, now).await.pop().expect("a command to claim")
}

pub(super) async fn apply_deadlines(store: &Arc<dyn Store>, secs: u64) -> DeadlineChanges {
    store.apply_deadlines(TERMS, after(secs)).await.unwrap()
}

pub(super) async fn command(store: &Arc<dyn Store>, id: &str) -> Command {
    store.command(&id.into()).await.unwrap().expect("the command is stored")
}

pub(super) async fn state(store: &Arc<dyn Store>, id: &str) -> CommandState {
    command(store, id).await.state
}

pub(super) fn ids(claimed: &[LeasedCommand]) -> Vec<&str> {
    claimed.iter().map(|leased| leased.command.id.as_str()).collect()
}

pub(super) fn succeeded(leased: &LeasedCommand, result: Option<Value>) -> CommandReport {
    let (id, lease) = (leased.command.id.clone(), leased.lease.clone());
    CommandReport::new(id, lease, CommandOutcome::Succeeded { result })
}

/// Reports on a command as the module `id`.
pub(super) async fn report_as(
    id: &str,
    store: &Arc<dyn Store>,
    report: &CommandReport,
    now: Now,
) -> Result<Command, StoreError> {
    store.report(&module(id), None, Some(report), TERMS, now).await?.unwrap().map(|reported| reported.command)
}

pub(super) async fn finish(
    store: &Arc<dyn Store>,
    report: &CommandReport,
    now: Now,
) -> Result<Command, StoreError> {
    report_as("led", store, report, now).await
}

pub async fn a_submitted_command_is_queued(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    let new = new_command("led", "c1", 60);

    let result = store.submit(&new, MAX_WAITING, after(5)).await.unwrap();

    assert!(result.is_new && result.superseded.is_empty());
    let (command, issued_by) = (new.command.clone(), new.issued_by.clone());
    let mut expected = Command::new("c1".into(), module("led"), command, issued_by, after(5).wall);
    expected.expires_at = after(65).wall;
    assert_eq!(result.command, expected);
    assert_eq!(store.command(&new.id).await.unwrap(), Some(expected));
    assert_eq!(store.command(&"c2".into()).await.unwrap(), None);
}

pub async fn a_command_for_an_unknown_module_is_refused(store: Arc<dyn Store>) {
    let result = store.submit(&new_command("unknown", "c1", 60), MAX_WAITING, after(0)).await;

    assert!(matches!(result, Err(StoreError::NotFound(_))), "{result:?}");
}

pub async fn a_command_with_an_existing_id_is_refused(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1"]).await;

    let result = store.submit(&new_command("led", "c1", 1), MAX_WAITING, after(0)).await;

    assert!(matches!(result, Err(StoreError::Conflict(_))), "{result:?}");
    assert_eq!(command(&store, "c1").await.expires_at, after(3600).wall);
}

pub async fn the_number_of_unfinished_commands_of_a_module_is_limited(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1", "c2"]).await;
    add_module(&store, "other").await;
    let submit = async |of, id| store.submit(&new_command(of, id, 60), 2, after(0)).await;

    let refused = submit("led", "c3").await;
    submit("other", "o1").await.unwrap();
    let leased = claim_one(&store, after(0)).await;
    let still_refused = submit("led", "c3").await;
    finish(&store, &succeeded(&leased, None), after(1)).await.unwrap();

    assert!(matches!(refused, Err(StoreError::LimitReached { limit: 2, .. })), "{refused:?}");
    assert!(matches!(still_refused, Err(StoreError::LimitReached { .. })), "a leased command counts, too");
    submit("led", "c3").await.unwrap();
}

pub async fn commands_are_claimed_in_order_of_submission(store: Arc<dyn Store>) {
    // Neither the ids nor the clock follow the order of submission.
    add_module(&store, "led").await;
    for (id, secs) in [("z", 9), ("m", 5), ("a", 1)] {
        store.submit(&new_command("led", id, 3600), MAX_WAITING, after(secs)).await.unwrap();
    }

    let claimed = claim(&store, 2, after(10)).await;

    assert_eq!(ids(&claimed), ["z", "m"]);
    assert_ne!(claimed[0].lease, claimed[1].lease);
    for (leased, left) in claimed.iter().zip([3599.0, 3595.0]) {
        assert_eq!((leased.lease_secs, leased.expires_in), (LEASE_SECS as f64, left));
        assert_eq!((leased.command.state, leased.command.attempts), (CommandState::Leased, 1));
        assert_eq!(leased.command.leased_at, Some(after(10).wall));
        assert_eq!(command(&store, leased.command.id.as_str()).await, leased.command);
    }
}

pub async fn no_command_is_claimed_while_one_of_the_module_is_leased(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1", "c2", "c3"]).await;
    let claimed = claim(&store, 2, after(0)).await;

    assert_eq!(claim(&store, 16, after(1)).await, []);
    finish(&store, &succeeded(&claimed[0], None), after(1)).await.unwrap();
    assert_eq!(claim(&store, 16, after(1)).await, []);
    finish(&store, &succeeded(&claimed[1], None), after(1)).await.unwrap();

    assert_eq!(ids(&claim(&store, 16, after(1)).await), ["c3"]);
}

pub async fn concurrent_claims_never_return_the_same_command(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1", "c2", "c3"]).await;

    let mut tasks = Vec::new();
    for _ in 0..20 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move { claim(&store, 1, after(0)).await }));
    }
    let mut claimed = Vec::new();
    for task in tasks {
        claimed.extend(task.await.unwrap());
    }

    assert_eq!(ids(&claimed), ["c1"]);
}

pub async fn a_command_past_its_deadline_is_never_claimed(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    store.submit(&new_command("led", "short", 10), MAX_WAITING, after(0)).await.unwrap();
    store.submit(&new_command("led", "long", 60), MAX_WAITING, after(0)).await.unwrap();

    // No apply_deadlines has run yet.
    let claimed = claim(&store, 16, after(10)).await;

    assert_eq!(ids(&claimed), ["long"]);
    assert_eq!(state(&store, "short").await, CommandState::Queued);
}

pub async fn an_outcome_finishes_a_command(store: Arc<dyn Store>) {
    let result = json!({"on": true, "list": [1, "ü"]});
    let failed = CommandOutcome::Failed { error: "no power".to_owned() };
    let rejected = CommandOutcome::Rejected { error: "too hot".to_owned() };
    let nothing = CommandOutcome::Succeeded { result: None };
    let something = CommandOutcome::Succeeded { result: Some(result.clone()) };
    let cases = [
        (something, CommandState::Succeeded, Some(result), None),
        (nothing, CommandState::Succeeded, None, None),
        (failed, CommandState::Failed, None, Some("no power".to_owned())),
        (rejected, CommandState::Rejected, None, Some("too hot".to_owned())),
    ];
    queue_commands(&store, &["c1", "c2", "c3", "c4"]).await;

    for (outcome, state, result, error) in cases {
        let leased = claim_one(&store, after(1)).await;
        let report = CommandReport::new(leased.command.id.clone(), leased.lease.clone(), outcome);

        let ended = finish(&store, &report, after(2)).await.unwrap();

        let finished_at = Some(after(2).wall);
        let mut expected = leased.command;
        (expected.state, expected.result, expected.error, expected.finished_at) =
            (state, result, error, finished_at);
        assert_eq!(ended, expected);
        assert_eq!(command(&store, ended.id.as_str()).await, ended);
    }
    assert_eq!(claim(&store, 1, after(3)).await, []);
}

pub async fn a_repeated_report_changes_nothing(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1"]).await;
    let leased = claim_one(&store, after(0)).await;
    let report = succeeded(&leased, Some(json!({"b": 1, "a": 2})));

    let first = finish(&store, &report, after(1)).await.unwrap();
    let second = finish(&store, &report, after(9)).await.unwrap();

    assert_eq!(first, second);
    assert_eq!(second.finished_at, Some(after(1).wall));
}

pub async fn a_different_second_outcome_is_refused(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1"]).await;
    let leased = claim_one(&store, after(0)).await;
    let report = succeeded(&leased, None);
    finish(&store, &report, after(1)).await.unwrap();

    let failed = CommandOutcome::Failed { error: "after all".to_owned() };
    for outcome in [failed, CommandOutcome::Succeeded { result: Some(json!(1)) }] {
        let result =
            finish(&store, &CommandReport::new(report.id.clone(), report.lease.clone(), outcome), after(2))
                .await;

        assert!(matches!(result, Err(StoreError::Conflict(_))), "{result:?}");
    }
    assert_eq!(
        (state(&store, "c1").await, command(&store, "c1").await.result),
        (CommandState::Succeeded, None)
    );
}

pub async fn a_report_without_the_current_lease_is_refused(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1"]).await;
    let lost = claim_one(&store, after(0)).await;
    apply_deadlines(&store, LEASE_SECS).await;

    let queued = finish(&store, &succeeded(&lost, None), after(LEASE_SECS)).await;
    let current = claim_one(&store, after(LEASE_SECS)).await;
    let leased_again = finish(&store, &succeeded(&lost, None), after(LEASE_SECS)).await;
    let forged =
        CommandReport::new(current.command.id.clone(), "".into(), CommandOutcome::Succeeded { result: None });
    let forged = finish(&store, &forged, after(LEASE_SECS)).await;

    for result in [queued, leased_again, forged] {
        assert!(matches!(result, Err(StoreError::Conflict(_))), "{result:?}");
    }
    assert_ne!(lost.lease, current.lease);
    assert_eq!(current.command.attempts, 2);
    finish(&store, &succeeded(&current, None), after(LEASE_SECS + 1)).await.unwrap();
}

pub async fn another_modules_command_cannot_be_finished(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1"]).await;
    add_module(&store, "other").await;
    let leased = claim_one(&store, after(0)).await;
    let report = succeeded(&leased, None);

    let other_module = report_as("other", &store, &report, after(1)).await;
    let unknown =
        finish(&store, &CommandReport::new("c2".into(), report.lease, report.outcome), after(1)).await;

    assert!(matches!(other_module, Err(StoreError::NotFound(_))), "{other_module:?}");
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    assert_eq!(state(&store, "c1").await, CommandState::Leased);
}

pub async fn an_unreported_command_is_queued_again_when_its_lease_ends(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1"]).await;
    claim_one(&store, after(0)).await;

    let early = apply_deadlines(&store, LEASE_SECS - 1).await;
    let due = apply_deadlines(&store, LEASE_SECS).await;

    assert_eq!(early.changed, []);
    assert_eq!(due.changed, [command(&store, "c1").await]);
    assert_eq!((due.changed[0].state, due.changed[0].attempts), (CommandState::Queued, 1));
    assert_eq!(claim_one(&store, after(LEASE_SECS)).await.command.attempts, 2);
}

pub async fn a_command_that_is_queued_again_keeps_its_position(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1", "c2"]).await;
    claim_one(&store, after(0)).await;
    apply_deadlines(&store, LEASE_SECS).await;

    assert_eq!(ids(&claim(&store, 16, after(LEASE_SECS)).await), ["c1", "c2"]);
}

pub async fn a_command_is_dead_after_the_maximum_number_of_leases(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1"]).await;
    let mut last = Vec::new();
    for attempt in 0..3 {
        claim_one(&store, after(attempt * LEASE_SECS)).await;
        last = apply_deadlines(&store, (attempt + 1) * LEASE_SECS).await.changed;
    }

    assert_eq!((last[0].state, last[0].attempts), (CommandState::Dead, 3));
    assert_eq!(last[0].finished_at, Some(after(3 * LEASE_SECS).wall));
    assert_eq!(claim(&store, 1, after(3 * LEASE_SECS)).await, []);
}

pub async fn a_command_past_its_deadline_expires(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    for (id, secs) in [("c1", 10), ("c2", 20), ("c3", 10)] {
        store.submit(&new_command("led", id, secs), MAX_WAITING, after(0)).await.unwrap();
    }

    let early = apply_deadlines(&store, 9).await;
    let due = apply_deadlines(&store, 10).await;

    assert_eq!(early.changed, []);
    let expired: Vec<_> = due.changed.iter().map(|c| (c.id.as_str(), c.state, c.finished_at)).collect();
    let at = Some(after(10).wall);
    assert_eq!(expired, [("c1", CommandState::Expired, at), ("c3", CommandState::Expired, at)]);
    assert_eq!(apply_deadlines(&store, 11).await.changed, []);
    assert_eq!(state(&store, "c2").await, CommandState::Queued);
}

pub async fn a_leased_command_does_not_expire_before_its_lease_ends(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    store.submit(&new_command("led", "done", 10), MAX_WAITING, after(0)).await.unwrap();
    let done = claim_one(&store, after(9)).await;

    // The command was claimed in time. Its outcome counts even if it arrives after the deadline.
    let changes = apply_deadlines(&store, 12).await;
    let finished = finish(&store, &succeeded(&done, None), after(13)).await.unwrap();

    store.submit(&new_command("led", "lost", 10), MAX_WAITING, after(20)).await.unwrap();
    claim_one(&store, after(20)).await;
    let lost = apply_deadlines(&store, 20 + LEASE_SECS).await;

    assert_eq!(changes.changed, []);
    assert_eq!(finished.state, CommandState::Succeeded);
    assert_eq!(lost.changed[0].state, CommandState::Expired);
}

pub async fn a_sweep_returns_the_next_deadline(store: Arc<dyn Store>) {
    assert_eq!(apply_deadlines(&store, 0).await.next, None);
    queue_commands(&store, &["c1"]).await;
    store.submit(&new_command("led", "c2", 40), MAX_WAITING, after(0)).await.unwrap();

    let waiting = apply_deadlines(&store, 0).await;
    claim(&store, 1, after(5)).await;
    let leased = apply_deadlines(&store, 5).await;
    let queued = apply_deadlines(&store, 35).await;
    let expired = apply_deadlines(&store, 40).await;

    assert_eq!(waiting.next, Some(after(40).steady));
    assert_eq!(leased.next, Some(after(5 + LEASE_SECS).steady));
    assert_eq!((queued.changed.len(), queued.next), (1, Some(after(40).steady)));
    assert_eq!((expired.changed.len(), expired.next), (1, Some(after(3600).steady)));
}

pub async fn only_a_queued_command_can_be_cancelled(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1", "c2"]).await;
    let leased = claim_one(&store, after(0)).await;

    let cancelled = store.cancel(&"c2".into(), after(1)).await.unwrap();
    let leased_one = store.cancel(&leased.command.id, after(1)).await;
    let again = store.cancel(&"c2".into(), after(2)).await;
    let unknown = store.cancel(&"c3".into(), after(2)).await;

    assert_eq!((cancelled.state, cancelled.finished_at), (CommandState::Cancelled, Some(after(1).wall)));
    assert_eq!(command(&store, "c2").await, cancelled);
    assert!(matches!(leased_one, Err(StoreError::Conflict(_))), "{leased_one:?}");
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
}

pub async fn a_clock_that_is_set_back_extends_no_lifetime_or_lease(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    add_module(&store, "other").await;
    store.submit(&new_command("led", "queued", 60), MAX_WAITING, after(1_000_000)).await.unwrap();
    store.submit(&new_command("other", "leased", 3600), MAX_WAITING, after(1_000_000)).await.unwrap();
    store.claim(&module("other"), 1, TERMS, after(1_000_000)).await.unwrap();

    // The hub restarts, and its clock was set back by more than eleven days.
    store.clamp_deadlines(TERMS, after(0)).await.unwrap();

    assert_eq!(command(&store, "queued").await.expires_at, after(60).wall);
    let queued = apply_deadlines(&store, LEASE_SECS).await;
    assert_eq!((queued.changed[0].id.as_str(), queued.changed[0].state), ("leased", CommandState::Queued));
    assert_eq!(queued.next, Some(after(60).steady));
    let expired = apply_deadlines(&store, 60).await;
    assert_eq!((expired.changed[0].id.as_str(), expired.changed[0].state), ("queued", CommandState::Expired));
    assert_eq!(expired.next, Some(after(3600).steady));
}

pub async fn a_clock_that_is_set_forward_extends_no_lifetime(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1"]).await;
    let far_future = Now { wall: Timestamp::END, steady: Steady(Timestamp::END) };

    store.clamp_deadlines(TERMS, far_future).await.unwrap();

    assert_eq!(command(&store, "c1").await.expires_at, after(3600).wall);
    assert_eq!(claim(&store, 1, far_future).await, []);
    let changes = store.apply_deadlines(TERMS, far_future).await.unwrap();
    assert_eq!((changes.changed[0].state, changes.next), (CommandState::Expired, None));
}

pub async fn commands_are_listed_newest_first(store: Arc<dyn Store>) {
    queue_commands(&store, &["c1", "c2", "c3", "c4", "c5"]).await;
    add_module(&store, "other").await;
    store.submit(&new_command("other", "o1", 60), MAX_WAITING, after(0)).await.unwrap();
    store.cancel(&"c3".into(), after(0)).await.unwrap();
    let led = module("led");

    for limit in [1, 2, 5, 6] {
        let (found, _) = all_pages(limit, async |page| store.commands(&led, &page).await.unwrap()).await;

        let found: Vec<_> = found.iter().map(|command| command.id.as_str()).collect();
        assert_eq!(found, ["c5", "c4", "c3", "c2", "c1"], "limit {limit}");
    }
    assert_eq!(store.commands(&module("unknown"), &page(1)).await.unwrap().items, []);
}
