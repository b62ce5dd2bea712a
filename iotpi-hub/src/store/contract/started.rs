//! Commands that are begun: at most once, and then perhaps nobody knows how they ended.

use std::sync::Arc;

use iotpi_core::{CommandOutcome, CommandReport, CommandState, LeasedCommand};

use super::{
    after,
    commands::{
        LEASE_SECS, MANY, claim, claim_one, finish, ids, order, report_as, state, succeeded, sweep, waiting,
    },
    known,
};
use crate::store::{CommandOrder, Result, Store, StoreError};

/// A module `led` with a door to open, claimed at once.
async fn door(store: &Arc<dyn Store>, secs: u64) -> LeasedCommand {
    known(store, "led").await;
    let door = CommandOrder { hazardous: true, ..order("led", "door", secs) };
    store.submit(&door, MANY, after(0)).await.unwrap();
    claim_one(store, after(0)).await
}

fn started(id: &str, lease: &str) -> CommandReport {
    CommandReport { id: id.to_owned(), lease: lease.to_owned(), outcome: CommandOutcome::Started }
}

async fn start(store: &Arc<dyn Store>, leased: &LeasedCommand, secs: u64) -> Result<()> {
    let started = report_as("led", store, &started(&leased.command.id, &leased.lease), after(secs)).await?;
    assert_eq!(started.state, CommandState::Leased);
    Ok(())
}

pub async fn a_started_command_is_never_claimed_again(store: Arc<dyn Store>) {
    let leased = door(&store, 3600).await;
    start(&store, &leased, 1).await.unwrap();

    let swept = sweep(&store, 1 + LEASE_SECS).await;

    let ended = &swept.changed[0];
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
    let lost = door(&store, 3600).await;

    let swept = sweep(&store, LEASE_SECS).await;
    let present = claim_one(&store, after(LEASE_SECS)).await;

    assert_eq!(swept.changed[0].state, CommandState::Queued);
    assert_eq!(present.command.attempts, 2);
    // The one that lost it may not begin any more.
    let late = start(&store, &lost, LEASE_SECS).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    start(&store, &present, LEASE_SECS).await.unwrap();
}

pub async fn a_command_is_started_once_under_its_current_lease(store: Arc<dyn Store>) {
    let leased = door(&store, 3600).await;
    known(&store, "other").await;
    let forged = LeasedCommand { lease: String::new(), ..leased.clone() };

    let wrong_lease = start(&store, &forged, 1).await;
    let (id, lease) = (&leased.command.id, &leased.lease);
    let others = report_as("other", &store, &started(id, lease), after(1)).await;
    let nobodys = report_as("led", &store, &started("c9", lease), after(1)).await;
    start(&store, &leased, 2).await.unwrap();
    start(&store, &leased, 9).await.unwrap();
    let kept = store.command(id).await.unwrap().unwrap();
    finish(&store, &succeeded(&leased, None), after(10)).await.unwrap();
    let ended = start(&store, &leased, 11).await;

    assert!(matches!(wrong_lease, Err(StoreError::Conflict(_))), "{wrong_lease:?}");
    assert!(matches!(others, Err(StoreError::NotFound(_))), "{others:?}");
    assert!(matches!(nobodys, Err(StoreError::NotFound(_))), "{nobodys:?}");
    assert_eq!(kept.started_at, Some(after(2).wall));
    assert!(matches!(ended, Err(StoreError::Conflict(_))), "{ended:?}");
    assert_eq!(state(&store, "door").await, CommandState::Succeeded);
}

pub async fn a_command_cannot_be_started_after_its_lease_or_lifetime(store: Arc<dyn Store>) {
    let leased = door(&store, 10).await;

    // Nobody has swept.
    let overdue = start(&store, &leased, 10).await;

    waiting(&store, &["c1"]).await;
    sweep(&store, LEASE_SECS).await;
    let second = claim_one(&store, after(100)).await;
    let lapsed = start(&store, &second, 100 + LEASE_SECS).await;

    assert!(matches!(overdue, Err(StoreError::Conflict(_))), "{overdue:?}");
    assert!(matches!(lapsed, Err(StoreError::Conflict(_))), "{lapsed:?}");
    assert_eq!(store.command(&"c1".to_owned()).await.unwrap().unwrap().started_at, None);
}

pub async fn starting_a_command_renews_its_lease_once(store: Arc<dyn Store>) {
    let leased = door(&store, 3600).await;
    start(&store, &leased, LEASE_SECS - 1).await.unwrap();
    // Said again, it is not longer.
    start(&store, &leased, LEASE_SECS + 5).await.unwrap();

    let early = sweep(&store, 2 * LEASE_SECS - 2).await;

    assert_eq!((early.changed, early.next), (vec![], Some(after(2 * LEASE_SECS - 1).steady)));
    finish(&store, &succeeded(&leased, None), after(2 * LEASE_SECS - 2)).await.unwrap();
}

pub async fn a_module_can_report_an_unknown_outcome(store: Arc<dyn Store>) {
    let leased = door(&store, 3600).await;
    waiting(&store, &["c1"]).await;
    start(&store, &leased, 1).await.unwrap();
    let report = |outcome| CommandReport { outcome, ..succeeded(&leased, None) };
    let unknown = report(CommandOutcome::UnknownOutcome { error: "the power went".to_owned() });

    let ended = finish(&store, &unknown, after(2)).await.unwrap();
    let again = finish(&store, &unknown, after(3)).await.unwrap();

    assert_eq!((ended.state, ended.error.as_deref()), (CommandState::UnknownOutcome, Some("the power went")));
    assert_eq!(again, ended);
    // The next one need not wait for the lease.
    assert_eq!(ids(&claim(&store, 1, after(3)).await), ["c1"]);
}
