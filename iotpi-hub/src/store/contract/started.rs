//! Started commands: they are started at most once, and their outcome may be unknown.

use std::sync::Arc;

use iotpi_core::model::command::{CommandOutcome, CommandReport, CommandState, LeasedCommand};

use super::{
    add_module, after,
    commands::{
        LEASE_SECS, MAX_WAITING, apply_deadlines, claim, claim_one, finish, ids, new_command, queue_commands,
        report_as, state, succeeded,
    },
};
use crate::store::{CommandSubmission, Result, Store, StoreError};

/// Creates a module `led`, and submits and claims its hazardous command `door`.
async fn claim_door(store: &Arc<dyn Store>, secs: u64) -> LeasedCommand {
    add_module(store, "led").await;
    let new = CommandSubmission { hazardous: true, ..new_command("led", "door", secs) };
    store.submit(&new, MAX_WAITING, after(0)).await.unwrap();
    claim_one(store, after(0)).await
}

fn started(id: &str, lease: &str) -> CommandReport {
    CommandReport::new(id.into(), lease.into(), CommandOutcome::Started)
}

async fn start(store: &Arc<dyn Store>, leased: &LeasedCommand, secs: u64) -> Result<()> {
    let started =
        report_as("led", store, &started(leased.command.id.as_str(), leased.lease.as_str()), after(secs))
            .await?;
    assert_eq!(started.state, CommandState::Leased);
    Ok(())
}

pub async fn a_started_command_is_never_claimed_again(store: Arc<dyn Store>) {
    let leased = claim_door(&store, 3600).await;
    start(&store, &leased, 1).await.unwrap();

    let changes = apply_deadlines(&store, 1 + LEASE_SECS).await;

    let ended = &changes.changed[0];
    assert_eq!((ended.state, ended.attempts), (CommandState::UnknownOutcome, 1));
    assert_eq!(
        (ended.started_at, ended.finished_at),
        (Some(after(1).wall), Some(after(1 + LEASE_SECS).wall))
    );
    assert!(ended.error.is_some());
    assert!(leased.hazardous);
    assert_eq!(claim(&store, 1, after(1 + LEASE_SECS)).await, []);
    let late = finish(&store, &succeeded(&leased, None), after(1 + LEASE_SECS)).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
}

pub async fn a_hazardous_command_that_was_not_started_is_queued_again(store: Arc<dyn Store>) {
    let lost = claim_door(&store, 3600).await;

    let changes = apply_deadlines(&store, LEASE_SECS).await;
    let current = claim_one(&store, after(LEASE_SECS)).await;

    assert_eq!(changes.changed[0].state, CommandState::Queued);
    assert_eq!(current.command.attempts, 2);
    // The previous lease cannot start the command any more.
    let late = start(&store, &lost, LEASE_SECS).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    start(&store, &current, LEASE_SECS).await.unwrap();
}

pub async fn a_command_is_started_once_under_its_current_lease(store: Arc<dyn Store>) {
    let leased = claim_door(&store, 3600).await;
    add_module(&store, "other").await;
    let mut forged = leased.clone();
    forged.lease = "".into();

    let wrong_lease = start(&store, &forged, 1).await;
    let (id, lease) = (&leased.command.id, &leased.lease);
    let other_module = report_as("other", &store, &started(id.as_str(), lease.as_str()), after(1)).await;
    let unknown = report_as("led", &store, &started("c9", lease.as_str()), after(1)).await;
    start(&store, &leased, 2).await.unwrap();
    start(&store, &leased, 9).await.unwrap();
    let stored = store.command(id).await.unwrap().unwrap();
    finish(&store, &succeeded(&leased, None), after(10)).await.unwrap();
    let ended = start(&store, &leased, 11).await;

    assert!(matches!(wrong_lease, Err(StoreError::Conflict(_))), "{wrong_lease:?}");
    assert!(matches!(other_module, Err(StoreError::NotFound(_))), "{other_module:?}");
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    assert_eq!(stored.started_at, Some(after(2).wall));
    assert!(matches!(ended, Err(StoreError::Conflict(_))), "{ended:?}");
    assert_eq!(state(&store, "door").await, CommandState::Succeeded);
}

pub async fn a_command_cannot_be_started_after_its_lease_or_lifetime(store: Arc<dyn Store>) {
    let leased = claim_door(&store, 10).await;

    // No apply_deadlines has run yet.
    let after_lifetime = start(&store, &leased, 10).await;

    queue_commands(&store, &["c1"]).await;
    apply_deadlines(&store, LEASE_SECS).await;
    let second = claim_one(&store, after(100)).await;
    let after_lease = start(&store, &second, 100 + LEASE_SECS).await;

    assert!(matches!(after_lifetime, Err(StoreError::Conflict(_))), "{after_lifetime:?}");
    assert!(matches!(after_lease, Err(StoreError::Conflict(_))), "{after_lease:?}");
    assert_eq!(store.command(&"c1".into()).await.unwrap().unwrap().started_at, None);
}

pub async fn starting_a_command_renews_its_lease_once(store: Arc<dyn Store>) {
    let leased = claim_door(&store, 3600).await;
    start(&store, &leased, LEASE_SECS - 1).await.unwrap();
    // A repeated report does not renew the lease.
    start(&store, &leased, LEASE_SECS + 5).await.unwrap();

    let early = apply_deadlines(&store, 2 * LEASE_SECS - 2).await;

    assert_eq!((early.changed, early.next), (vec![], Some(after(2 * LEASE_SECS - 1).steady)));
    finish(&store, &succeeded(&leased, None), after(2 * LEASE_SECS - 2)).await.unwrap();
}

pub async fn a_module_can_report_an_unknown_outcome(store: Arc<dyn Store>) {
    let leased = claim_door(&store, 3600).await;
    queue_commands(&store, &["c1"]).await;
    start(&store, &leased, 1).await.unwrap();
    let report = |outcome| CommandReport::new(leased.command.id.clone(), leased.lease.clone(), outcome);
    let unknown = report(CommandOutcome::UnknownOutcome { error: "power lost".to_owned() });

    let ended = finish(&store, &unknown, after(2)).await.unwrap();
    let again = finish(&store, &unknown, after(3)).await.unwrap();

    assert_eq!((ended.state, ended.error.as_deref()), (CommandState::UnknownOutcome, Some("power lost")));
    assert_eq!(again, ended);
    // The next command can be claimed before the lease would have ended.
    assert_eq!(ids(&claim(&store, 1, after(3)).await), ["c1"]);
}
