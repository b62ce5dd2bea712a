//! Starts recordings on events: a task evaluates the triggers of all cameras.
//!
//! The task subscribes to the hub's events with the first trigger and ends with the last one, so that a hub without
//! triggers keeps no events for it. It evaluates events in the order in which they were published, usually within
//! milliseconds; the pre-event buffer covers that delay. If it falls so far behind that events were dropped, it reads
//! the missed readings and commands from the store. A trigger may then be late, or evaluated twice, which prolongs its
//! recording; it is not lost.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use iotpi_core::{Command, CommandState, Event, ModuleId, Reading, RecordingTrigger, Timestamp};

use super::{Camera, Recordings};
use crate::{
    Hub,
    error::Result,
    events::{RecvError, Subscriber},
    store::{Pages, ReadingQuery},
};

/// Maximum age of a reading that triggers a recording. Older readings were delayed in their module.
const MAX_READING_AGE: Duration = Duration::from_secs(60);
/// Time between the arrival of a reading or report and its event: a commit, on a slow disk.
const MAX_COMMIT_TIME: Duration = Duration::from_secs(5);

/// The triggers of all cameras.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    /// By the module whose reading or command they match.
    by_module: HashMap<ModuleId, Vec<(Arc<Camera>, RecordingTrigger)>>,
    /// Whether the task runs.
    is_running: bool,
}

impl Triggers {
    fn remove(&mut self, camera: &ModuleId) {
        for of_module in self.by_module.values_mut() {
            of_module.retain(|(other, _)| other.id != *camera);
        }
        self.by_module.retain(|_, of_module| !of_module.is_empty());
    }
}

impl Recordings {
    /// Replaces the triggers of a camera. Starts the task if it is needed and does not run.
    pub(super) fn set_triggers(&self, hub: &Hub, camera: &Arc<Camera>, new: &[RecordingTrigger]) {
        let mut triggers = self.triggers_mut();
        triggers.remove(&camera.id);
        for trigger in new {
            let of_module = triggers.by_module.entry(trigger.module_id.clone()).or_default();
            of_module.push((Arc::clone(camera), trigger.clone()));
        }
        if !triggers.by_module.is_empty() && !std::mem::replace(&mut triggers.is_running, true) {
            // Subscribed here, so that no later event is missed.
            let (_, events) = hub.events().subscribe();
            hub.inner.tasks.spawn(evaluate(hub.clone(), events));
        }
    }

    /// Removes the triggers of a camera.
    pub(super) fn remove_triggers(&self, camera: &ModuleId) {
        self.triggers_mut().remove(camera);
    }

    /// Whether there are no triggers; the task ends then.
    fn end_without_triggers(&self) -> bool {
        let mut triggers = self.triggers_mut();
        triggers.is_running = !triggers.by_module.is_empty();
        !triggers.is_running
    }

    fn evaluate(&self, hub: &Hub, event: &Event) {
        match event {
            Event::Reading { reading } => self.evaluate_reading(hub, reading),
            Event::Command { command } => self.evaluate_command(hub, command),
            _ => {}
        }
    }

    fn evaluate_reading(&self, hub: &Hub, reading: &Reading) {
        let Some(value) = reading.outcome.value() else { return };
        let kind = reading.quantity.name_str();
        let matches = |trigger: &RecordingTrigger| {
            trigger.kind.as_ref().is_some_and(|of| of.as_str() == kind)
                && (trigger.above.is_some_and(|above| value > above)
                    || trigger.below.is_some_and(|below| value < below))
        };
        if hub.now().wall.since(reading.taken_at) <= MAX_READING_AGE {
            let reason = || format!("{} {kind} {value}", reading.module_id);
            self.start_matching(hub, &reading.module_id, matches, reason);
        }
    }

    fn evaluate_command(&self, hub: &Hub, command: &Command) {
        let matches = |trigger: &RecordingTrigger| trigger.action.as_ref() == Some(&command.action);
        if command.state == CommandState::Succeeded {
            let reason = || format!("{} {}", command.module_id, command.action);
            self.start_matching(hub, &command.module_id, matches, reason);
        }
    }

    /// Starts an event of each camera with a matching trigger.
    fn start_matching(
        &self,
        hub: &Hub,
        module_id: &ModuleId,
        matches: impl Fn(&RecordingTrigger) -> bool,
        reason: impl Fn() -> String,
    ) {
        let cameras: Vec<_> = {
            let triggers = self.triggers();
            let of_module = triggers.by_module.get(module_id).into_iter().flatten();
            of_module.filter(|(_, trigger)| matches(trigger)).map(|(camera, _)| Arc::clone(camera)).collect()
        };
        for camera in cameras {
            let after = Duration::from_secs(camera.settings().after_secs.into());
            self.event(hub, &camera, after, &reason());
        }
    }

    fn triggers(&self) -> RwLockReadGuard<'_, Triggers> {
        self.triggers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn triggers_mut(&self) -> RwLockWriteGuard<'_, Triggers> {
        self.triggers.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task: evaluates events until there are no triggers or the hub stops.
async fn evaluate(hub: Hub, mut events: Subscriber) {
    let recordings = &hub.inner.recordings;
    let mut caught_up_at = hub.now().wall;
    loop {
        let now = hub.now().wall;
        let received = match events.try_recv() {
            Ok(event) => Ok(event),
            Err(RecvError::Missed(missed)) => Err(missed),
            Err(RecvError::Yet) => {
                caught_up_at = now;
                tokio::select! {
                    () = hub.stopping().cancelled() => return,
                    received = events.recv() => received,
                }
            }
        };
        if recordings.end_without_triggers() {
            return;
        }
        match received {
            Ok(event) if recordings.triggers().by_module.contains_key(event.module_id()) => {
                if let Ok(event) = event.event() {
                    recordings.evaluate(&hub, &event);
                }
            }
            Ok(_) => {}
            Err(missed) => {
                tracing::warn!(
                    missed,
                    "recording triggers are late; the missed events are read from the store"
                );
                if let Err(error) = evaluate_stored(&hub, caught_up_at.minus(MAX_COMMIT_TIME)).await {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "missed recording triggers could not be evaluated"
                    );
                }
            }
        }
        // Leaves the thread to other tasks when there are many events.
        tokio::task::yield_now().await;
    }
}

/// Evaluates the readings and commands that arrived since then and match a trigger.
async fn evaluate_stored(hub: &Hub, since: Timestamp) -> Result<()> {
    let recordings = &hub.inner.recordings;
    let (mut series, mut modules) = (HashSet::new(), HashSet::new());
    for (_, trigger) in recordings.triggers().by_module.values().flatten() {
        match &trigger.kind {
            Some(kind) => series.insert((trigger.module_id.clone(), kind.clone())),
            None => modules.insert(trigger.module_id.clone()),
        };
    }
    for (module_id, sensor) in series {
        let query = ReadingQuery {
            sensor,
            module_id: Some(module_id),
            since: Some(hub.now().wall.minus(MAX_READING_AGE)),
            until: None,
            not_after: None,
            ascending: true,
        };
        let mut pages = Pages::new();
        while let Some(page) = pages.next() {
            let readings = pages.take(hub.inner.store.readings(&query, &page).await?);
            let arrived = |reading: &&Reading| reading.received_at.is_some_and(|at| at >= since);
            readings.iter().filter(arrived).for_each(|reading| recordings.evaluate_reading(hub, reading));
        }
    }
    for module_id in modules {
        let mut pages = Pages::new();
        while let Some(page) = pages.next() {
            let commands = pages.take(hub.inner.store.commands(&module_id, &page).await?);
            let finished = |command: &&Command| command.finished_at.is_some_and(|at| at >= since);
            commands.iter().filter(finished).for_each(|command| recordings.evaluate_command(hub, command));
        }
    }
    Ok(())
}
