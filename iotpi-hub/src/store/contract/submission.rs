//! Submission of commands: superseding, idempotency keys, and the retention of finished commands.

use std::{sync::Arc, time::Duration};

use iotpi_core::{
    ActionName, Timestamp,
    model::{
        command::{Command, CommandState},
        id::UserName,
    },
};

use super::{
    add_module, after, all_pages,
    commands::{
        MAX_WAITING, claim, claim_one, command, finish, ids, new_command, queue_commands, state, succeeded,
    },
    module,
};
use crate::store::{
    CommandHistory, CommandSubmission, Now, Steady, Store, StoreError, SubmitOutcome, WatchedIssuer,
};

fn absolute(id: &str, target: &str) -> CommandSubmission {
    CommandSubmission { target: Some(target.to_owned()), ..new_command("led", id, 3600) }
}

fn keyed(id: &str, key: &str) -> CommandSubmission {
    CommandSubmission { idempotency_key: Some(key.to_owned()), ..new_command("led", id, 3600) }
}

async fn submit(store: &Arc<dyn Store>, new: &CommandSubmission) -> SubmitOutcome {
    store.submit(new, MAX_WAITING, after(1)).await.unwrap()
}

fn command_ids(commands: &[Command]) -> Vec<&str> {
    commands.iter().map(|command| command.id.as_str()).collect()
}

pub async fn an_absolute_command_supersedes_queued_ones_of_its_action_and_target(store: Arc<dyn Store>) {
    // A command that is not absolute, or has another target, action or module, is not superseded.
    queue_commands(&store, &["plain"]).await;
    add_module(&store, "other").await;
    let dim = ActionName::new("dim").unwrap();
    let mut other_action = absolute("other-action", "1");
    other_action.command.action = dim;
    let other_module = CommandSubmission { module_id: module("other"), ..absolute("other-module", "1") };
    for older in [absolute("a", "1"), absolute("b", "2"), absolute("other", ""), other_action, other_module] {
        assert_eq!(submit(&store, &older).await.superseded, []);
    }

    let newer = store.submit(&absolute("c", "1"), MAX_WAITING, after(2)).await.unwrap();

    assert_eq!(command_ids(&newer.superseded), ["a"]);
    let older = command(&store, "a").await;
    assert_eq!(newer.superseded[0], older);
    assert_eq!(
        (older.state, older.superseded_by.as_ref().map(iotpi_core::model::command::CommandId::as_str)),
        (CommandState::Cancelled, Some("c"))
    );
    assert_eq!(older.finished_at, Some(after(2).wall));
    assert!(older.error.is_some());
    assert_eq!(ids(&claim(&store, 16, after(3)).await), ["plain", "b", "other", "other-action", "c"]);
    let plain = submit(&store, &new_command("led", "plain-again", 3600)).await;
    assert_eq!(plain.superseded, []);
}

pub async fn a_leased_command_is_not_superseded(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    submit(&store, &absolute("a", "")).await;
    let leased = claim_one(&store, after(1)).await;

    let newer = submit(&store, &absolute("b", "")).await;
    let newest = submit(&store, &absolute("c", "")).await;
    finish(&store, &succeeded(&leased, None), after(2)).await.unwrap();

    assert_eq!((newer.superseded, command_ids(&newest.superseded)), (vec![], vec!["b"]));
    assert_eq!(state(&store, "a").await, CommandState::Succeeded);
    assert_eq!(ids(&claim(&store, 16, after(2)).await), ["c"]);
}

pub async fn a_superseded_command_does_not_count_towards_the_limit(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    for id in ["a", "b", "c", "d"] {
        store.submit(&absolute(id, ""), 1, after(1)).await.unwrap();
    }

    let over_limit = store.submit(&absolute("e", "another"), 1, after(1)).await;

    assert!(matches!(over_limit, Err(StoreError::LimitReached { .. })), "{over_limit:?}");
    assert_eq!(ids(&claim(&store, 16, after(1)).await), ["d"]);
}

pub async fn a_refused_command_supersedes_nothing(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    submit(&store, &absolute("a", "1")).await;
    submit(&store, &absolute("b", "2")).await;

    let over_limit = store.submit(&absolute("c", "1"), 1, after(2)).await;
    let existing_id = store.submit(&absolute("b", "1"), MAX_WAITING, after(2)).await;

    assert!(matches!(over_limit, Err(StoreError::LimitReached { .. })), "{over_limit:?}");
    assert!(matches!(existing_id, Err(StoreError::Conflict(_))), "{existing_id:?}");
    assert_eq!(state(&store, "a").await, CommandState::Queued);
}

pub async fn a_repeated_request_with_the_same_key_returns_the_first_command(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    let first = submit(&store, &keyed("c1", "k")).await;

    // Also at the limit, and after the first command has finished.
    let second = store.submit(&keyed("c2", "k"), 1, after(2)).await.unwrap();
    let leased = claim_one(&store, after(3)).await;
    let finished = finish(&store, &succeeded(&leased, None), after(4)).await.unwrap();
    let third = submit(&store, &keyed("c3", "k")).await;

    assert!(first.is_new && !second.is_new && !third.is_new);
    assert_eq!(second.command, first.command);
    assert_eq!(third.command, finished);
    assert_eq!(claim(&store, 16, after(5)).await, []);
    // A repeated request supersedes nothing: a command submitted after the first request is newer.
    let older = CommandSubmission { target: Some(String::new()), ..keyed("c4", "absolute") };
    submit(&store, &older).await;
    submit(&store, &absolute("c5", "")).await;
    let repeated = submit(&store, &CommandSubmission { id: "c6".into(), ..older }).await;
    assert_eq!((repeated.command.id.as_str(), repeated.superseded), ("c4", vec![]));
    assert_eq!(ids(&claim(&store, 16, after(5)).await), ["c5"]);
}

pub async fn an_idempotency_key_with_a_different_request_is_refused(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    submit(&store, &keyed("c1", "k")).await;
    let mut action = keyed("c2", "k");
    action.command.action = ActionName::new("dim").unwrap();
    let mut params = keyed("c2", "k");
    params.command.params.insert("on".to_owned(), false.into());
    let time_to_live = CommandSubmission { time_to_live: Duration::from_secs(60), ..keyed("c2", "k") };

    for other in [action, params, time_to_live] {
        let result = store.submit(&other, MAX_WAITING, after(2)).await;

        assert!(matches!(result, Err(StoreError::Conflict(_))), "{result:?}");
    }
    assert_eq!(store.command(&"c2".into()).await.unwrap(), None);
}

pub async fn an_idempotency_key_is_valid_only_for_its_issuer_and_module(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    add_module(&store, "other").await;
    submit(&store, &keyed("c1", "k")).await;

    let other_issuer = CommandSubmission { issued_by: UserName::new("bob").unwrap(), ..keyed("c2", "k") };
    let other_module = CommandSubmission { module_id: module("other"), ..keyed("c3", "k") };

    for new in [other_issuer, other_module, keyed("c4", "K")] {
        assert!(submit(&store, &new).await.is_new, "{new:?}");
    }
}

pub async fn the_issuer_whose_presence_a_command_depends_on_is_stored(store: Arc<dyn Store>) {
    add_module(&store, "led").await;
    let while_alive = Some(Duration::from_millis(2500));
    let issuer = Some("session".to_owned());
    submit(
        &store,
        &CommandSubmission { while_alive, issuer: issuer.clone(), ..new_command("led", "heat", 60) },
    )
    .await;
    submit(&store, &CommandSubmission { issuer, ..new_command("led", "plain", 60) }).await;
    let of =
        async |module_id: &str, id: &str| store.watched_issuer(&module(module_id), &id.into()).await.unwrap();

    let expected = WatchedIssuer { issuer: "session".to_owned(), while_alive: Duration::from_millis(2500) };
    assert_eq!(of("led", "heat").await, Some(expected));
    assert_eq!(
        [of("led", "plain").await, of("led", "none").await, of("other", "heat").await],
        [None, None, None]
    );
}

/// Creates a module, submits and cancels a command each day, and queues one more command.
async fn add_history(store: &Arc<dyn Store>, of: &str, days: u64) {
    add_module(store, of).await;
    for day in 0..days {
        let id = format!("{of}-{day}");
        store.submit(&new_command(of, &id, 60), MAX_WAITING, after(day * 86_400)).await.unwrap();
        store.cancel(&id.into(), after(day * 86_400)).await.unwrap();
    }
    store.submit(&new_command(of, &format!("{of}-queued"), 3600), MAX_WAITING, after(0)).await.unwrap();
}

async fn stored_ids(store: &Arc<dyn Store>, of: &str) -> Vec<String> {
    let module = module(of);
    let (found, _) = all_pages(100, async |page| store.commands(&module, &page).await.unwrap()).await;
    found.into_iter().map(|command| command.id.into()).collect()
}

const DAY: Duration = Duration::from_secs(86_400);
const RETENTION: CommandHistory = CommandHistory { keep: None, per_module: 1000, step: 1000 };

pub async fn finished_commands_are_deleted_after_their_retention_time(store: Arc<dyn Store>) {
    add_history(&store, "led", 6).await;
    let retention = CommandHistory { keep: Some(2 * DAY), step: 2, ..RETENTION };

    let now = after(5 * 86_400);
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.push(store.prune_commands(retention, now).await.unwrap());
    }

    assert_eq!(steps, [2, 1, 0]);
    assert_eq!(stored_ids(&store, "led").await, ["led-queued", "led-5", "led-4", "led-3"]);
    assert_eq!(store.prune_commands(RETENTION, now).await.unwrap(), 0);
}

pub async fn the_oldest_finished_commands_over_the_limit_are_deleted(store: Arc<dyn Store>) {
    add_history(&store, "led", 5).await;
    add_history(&store, "door", 3).await;
    store.submit(&keyed("keyed", "k"), MAX_WAITING, after(0)).await.unwrap();

    let retention = CommandHistory { per_module: 2, step: 3, ..RETENTION };
    let deleted = [
        store.prune_commands(retention, after(0)).await.unwrap(),
        store.prune_commands(retention, after(0)).await.unwrap(),
    ];

    assert_eq!(deleted, [3, 1]);
    assert_eq!(stored_ids(&store, "led").await, ["keyed", "led-queued", "led-4", "led-3"]);
    assert_eq!(stored_ids(&store, "door").await, ["door-queued", "door-2", "door-1"]);
    // The idempotency key is deleted with its command.
    store.cancel(&"keyed".into(), after(0)).await.unwrap();
    store.prune_commands(CommandHistory { per_module: 0, ..RETENTION }, after(0)).await.unwrap();
    assert!(submit(&store, &keyed("keyed-again", "k")).await.is_new);
}

pub async fn a_clock_that_jumps_ahead_deletes_no_command(store: Arc<dyn Store>) {
    add_history(&store, "led", 3).await;
    let far_future = Now { wall: Timestamp::END, steady: Steady(Timestamp::END) };

    let deleted =
        store.prune_commands(CommandHistory { keep: Some(3 * DAY), ..RETENTION }, far_future).await.unwrap();

    assert_eq!(deleted, 0);
}
