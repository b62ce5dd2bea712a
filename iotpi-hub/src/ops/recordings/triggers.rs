//! Starts recordings on events: a task evaluates the triggers of all cameras.
//!
//! The task subscribes to the hub's events with the first trigger and ends with the last one, so that a hub without
//! triggers keeps no events for it. It evaluates events in the order in which they were published, usually within
//! milliseconds; the pre-event buffer covers that delay. If it falls so far behind that events were dropped, it reads
//! the missed readings and commands from the store. A trigger may then be late, or evaluated twice, which prolongs its
//! recording; it is not lost.

use std::{collections::HashSet, sync::Arc, time::Duration};

use iotpi_core::{
    ModuleId, Reading, Timestamp,
    model::{
        command::{Command, CommandState},
        event::Event,
        recording::RecordingTrigger,
    },
};

use crate::{
    Hub,
    error::Result,
    events::{RecvError, Subscriber},
    lock::lock,
    recording::Camera,
    store::{Pages, ReadingQuery},
};

/// Maximum age of a reading that triggers a recording. Older readings were delayed in their module.
const MAX_READING_AGE: Duration = Duration::from_secs(60);
/// Time between the arrival of a reading or report and its event: a commit, on a slow disk.
const MAX_COMMIT_TIME: Duration = Duration::from_secs(5);

impl Hub {
    /// Replaces the triggers of a camera. Starts the task if it is needed and does not run.
    pub(super) fn set_triggers(&self, camera: &Arc<Camera>, new: &[RecordingTrigger]) {
        let mut triggers = lock(&self.inner.recordings.triggers);
        if triggers.replace(camera, new) {
            // Subscribed here, so that no later event is missed.
            let (_, events) = self.events().subscribe();
            self.inner.tasks.spawn(evaluate(self.clone(), events));
        }
    }

    fn evaluate_event(&self, event: &Event) {
        match event {
            Event::Reading { reading } => self.evaluate_reading(reading),
            Event::Command { command } => self.evaluate_command(command),
            _ => {}
        }
    }

    fn evaluate_reading(&self, reading: &Reading) {
        let Some(value) = reading.outcome.value() else { return };
        let kind = reading.quantity.name_str();
        let matches = |trigger: &RecordingTrigger| {
            trigger.kind.as_ref().is_some_and(|of| of.as_str() == kind)
                && trigger.channel.as_ref().is_none_or(|of| of.matches(reading.channel.as_ref()))
                && (trigger.above.is_some_and(|above| value > above)
                    || trigger.below.is_some_and(|below| value < below))
        };
        if self.now().wall.since(reading.taken_at) <= MAX_READING_AGE {
            let reason = || format!("{} {kind} {value}", reading.module_id);
            self.start_matching(&reading.module_id, matches, reason);
        }
    }

    fn evaluate_command(&self, command: &Command) {
        let matches = |trigger: &RecordingTrigger| trigger.action.as_ref() == Some(&command.action);
        if command.state == CommandState::Succeeded {
            let reason = || format!("{} {}", command.module_id, command.action);
            self.start_matching(&command.module_id, matches, reason);
        }
    }

    /// Starts an event of each camera with a matching trigger.
    fn start_matching(
        &self,
        module_id: &ModuleId,
        matches: impl Fn(&RecordingTrigger) -> bool,
        reason: impl Fn() -> String,
    ) {
        let cameras = lock(&self.inner.recordings.triggers).matching(module_id, matches);
        for camera in cameras {
            let after = Duration::from_secs(camera.settings().after_secs.into());
            self.start_event(&camera, after, &reason());
        }
    }
}

/// The task: evaluates events until there are no triggers or the hub stops.
async fn evaluate(hub: Hub, mut events: Subscriber) {
    let triggers = &hub.inner.recordings.triggers;
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
        if lock(triggers).end_if_empty() {
            return;
        }
        match received {
            Ok(event) if lock(triggers).has(event.module_id()) => {
                if let Ok(event) = event.event() {
                    hub.evaluate_event(&event);
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
    let (mut series, mut modules) = (HashSet::new(), HashSet::new());
    for trigger in lock(&hub.inner.recordings.triggers).all() {
        match &trigger.kind {
            Some(kind) => series.insert((trigger.module_id.clone(), kind.clone())),
            None => modules.insert(trigger.module_id.clone()),
        };
    }
    for (module_id, sensor) in series {
        let query = ReadingQuery {
            sensor,
            module_id: Some(module_id),
            channel: None,
            since: Some(hub.now().wall.minus(MAX_READING_AGE)),
            until: None,
            not_after: None,
            ascending: true,
        };
        let mut pages = Pages::new();
        while let Some(page) = pages.next() {
            let readings = pages.take(hub.inner.store.readings(&query, &page).await?);
            let arrived = |reading: &&Reading| reading.received_at.is_some_and(|at| at >= since);
            readings.iter().filter(arrived).for_each(|reading| hub.evaluate_reading(reading));
        }
    }
    for module_id in modules {
        let mut pages = Pages::new();
        while let Some(page) = pages.next() {
            let commands = pages.take(hub.inner.store.commands(&module_id, &page).await?);
            let finished = |command: &&Command| command.finished_at.is_some_and(|at| at >= since);
            commands.iter().filter(finished).for_each(|command| hub.evaluate_command(command));
        }
    }
    Ok(())
}
