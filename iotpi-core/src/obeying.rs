//! A module that does what it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Action, ActionName, ActionSpec, Actuator, Backoff, CommandId, CommandOutcome, CommandReport, DeviceError,
    DeviceErrorKind, ErrorKind, LeasedCommand, MAX_ERROR_LEN, Manifest, Module, ModuleError, StatusReport,
    Uplink, UplinkError,
};

/// How long one question for commands waits for an answer.
const POLL: Duration = Duration::from_secs(25);
/// How many finished commands are remembered, so that one handed over again is answered, not done again.
const REMEMBERED: usize = 64;
/// How long an action under way may go on once the module is told to stop.
const GRACE: Duration = Duration::from_millis(750);
/// How long a module that was told to stop waits for a hub to take what it says: with the rest, less than the runner's
/// grace, so that a hub that does not answer keeps no device from being made safe.
const LAST_WORD: Duration = Duration::from_millis(250);

/// Takes commands for an [`Actuator`], does them one after the other, and reports how each ended with the device's state.
///
/// A command whose time to live is over when its turn comes is not done. The device is made safe when the module ends.
#[derive(Debug)]
pub struct Obeying<A> {
    actuator: A,
    description: Option<String>,
    done: VecDeque<(CommandId, CommandOutcome)>,
}

impl<A: Actuator> Obeying<A> {
    /// Commands for `actuator`.
    #[must_use]
    pub fn new(actuator: A) -> Self {
        Self { actuator, description: None, done: VecDeque::new() }
    }

    /// The same with a sentence for people in its manifest.
    #[must_use]
    pub fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Does a command unless it was done before or its time is over; `handed_over` is when it came.
    async fn carry_out(
        &mut self,
        leased: &LeasedCommand,
        handed_over: Instant,
        stop: &CancellationToken,
    ) -> Option<CommandOutcome> {
        let command = &leased.command;
        if let Some((_, outcome)) = self.done.iter().find(|(id, _)| id == &command.id) {
            return Some(outcome.clone());
        }
        let time_to_live = Duration::try_from_secs_f64(leased.expires_in).unwrap_or(Duration::ZERO);
        if handed_over.elapsed() >= time_to_live {
            return None;
        }
        let action = Action { name: command.action.clone(), params: command.params.clone() };
        let performed = tokio::select! {
            performed = self.actuator.perform(&action) => performed,
            () = over(stop, GRACE) => Err(DeviceError::new(DeviceErrorKind::Other, "the module was stopped meanwhile")),
        };
        let outcome = match performed {
            Ok(result) => CommandOutcome::Succeeded { result: Some(result).filter(|r| !r.is_null()) },
            Err(error) => {
                let kind = error.kind();
                let error = with_causes(&error).chars().take(MAX_ERROR_LEN).collect();
                match kind {
                    DeviceErrorKind::Refused => CommandOutcome::Rejected { error },
                    _ => CommandOutcome::Failed { error },
                }
            }
        };
        if self.done.len() == REMEMBERED {
            self.done.pop_front();
        }
        self.done.push_back((command.id.clone(), outcome.clone()));
        Some(outcome)
    }

    fn report(&self, leased: &LeasedCommand, outcome: CommandOutcome) -> StatusReport {
        let command = CommandReport { id: leased.command.id.clone(), lease: leased.lease.clone(), outcome };
        StatusReport { command: Some(command), ..self.state_report() }
    }

    fn state_report(&self) -> StatusReport {
        let state = self.actuator.state();
        StatusReport { state: (!state.is_empty()).then_some(state), ..StatusReport::default() }
    }

    /// Obeys until it is told to stop; returns what the hub was not told.
    async fn obey(&mut self, up: &Arc<dyn Uplink>, stop: &CancellationToken) -> VecDeque<StatusReport> {
        let mut backoff = Backoff::default();
        // What the hub has yet to be told, oldest first.
        let mut untold = VecDeque::from([self.state_report()]);
        while !stop.is_cancelled() {
            let tried = match untold.front() {
                Some(report) => tokio::select! {
                    () = over(stop, LAST_WORD) => break,
                    sent = send(up, report.clone()) => sent.map(|()| drop(untold.pop_front())),
                },
                None => tokio::select! {
                    () = stop.cancelled() => break,
                    claimed = up.claim(POLL) => match claimed {
                        Ok(commands) => {
                            untold = self.carry_out_all(up, commands, stop).await;
                            Ok(())
                        }
                        Err(error) => Err(error),
                    },
                },
            };
            match tried {
                Ok(()) => backoff.succeeded(),
                Err(error) => {
                    tracing::debug!(module = %up.module_id(), %error, "no line to the hub");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(backoff.failed()) => {}
                    }
                }
            }
        }
        untold
    }

    /// Carries out what was claimed and returns what to tell the hub.
    async fn carry_out_all(
        &mut self,
        up: &Arc<dyn Uplink>,
        commands: Vec<LeasedCommand>,
        stop: &CancellationToken,
    ) -> VecDeque<StatusReport> {
        let handed_over = Instant::now();
        let mut reports = VecDeque::with_capacity(commands.len());
        for leased in commands {
            match self.carry_out(&leased, handed_over, stop).await {
                Some(outcome) => reports.push_back(self.report(&leased, outcome)),
                None => {
                    tracing::warn!(module = %up.module_id(), command = leased.command.id, "came too late, not done")
                }
            }
        }
        reports
    }

    /// Makes the device safe, then tells the hub what it was not told and how things now stand, if it listens.
    async fn end(&mut self, up: &Arc<dyn Uplink>, untold: VecDeque<StatusReport>) -> Result<(), ModuleError> {
        let safe = self.actuator.make_safe().await;
        if let Err(error) = &safe {
            tracing::error!(module = %up.module_id(), %error, "the device could not be made safe");
        }
        let outcomes = untold.into_iter().filter(|report| report.command.is_some());
        let mut reports: Vec<_> = outcomes.map(|report| StatusReport { state: None, ..report }).collect();
        reports.push(self.state_report());
        let last_words = async {
            for report in reports {
                send(up, report).await?;
            }
            Ok::<(), UplinkError>(())
        };
        // A hub that is gone hands the command over again, and learns the state at the next start.
        let _ = tokio::time::timeout(LAST_WORD, last_words).await;
        Ok(safe?)
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Returns when a module that was told to stop has had its time.
async fn over(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// Tells the hub; what the hub will never accept is let go.
async fn send(up: &Arc<dyn Uplink>, report: StatusReport) -> Result<(), UplinkError> {
    match up.report(report).await {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Unprocessable
            ) =>
        {
            tracing::warn!(module = %up.module_id(), %error, "the hub did not take the report");
            Ok(())
        }
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

#[async_trait]
impl<A: Actuator> Module for Obeying<A> {
    fn manifest(&self) -> Manifest {
        Manifest {
            description: self.description.clone(),
            actions: self.actuator.actions(),
            ..Manifest::default()
        }
    }

    async fn run(
        mut self: Box<Self>,
        up: Arc<dyn Uplink>,
        stop: CancellationToken,
    ) -> Result<(), ModuleError> {
        let untold = self.obey(&up, &stop).await;
        self.end(&up, untold).await
    }

    async fn run_once(mut self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        let commands = up.claim(Duration::ZERO).await?;
        for report in self.carry_out_all(&up, commands, &CancellationToken::new()).await {
            up.report(report).await?;
        }
        Ok(())
    }
}

/// Actions made of functions; see [`Actions::on`].
#[derive(Default)]
pub struct Actions {
    functions: BTreeMap<ActionName, (ActionSpec, ActionFunction)>,
}

type ActionFunction = Box<dyn FnMut(Map<String, Value>) -> Result<Value, DeviceError> + Send>;

impl std::fmt::Debug for Actions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.functions.keys()).finish()
    }
}

impl Actions {
    /// No action yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with an action done by a function of its parameters; a later one of the same name replaces it.
    /// The function must not block for long.
    #[must_use]
    pub fn on(
        mut self,
        spec: ActionSpec,
        function: impl FnMut(Map<String, Value>) -> Result<Value, DeviceError> + Send + 'static,
    ) -> Self {
        self.functions.insert(spec.name.clone(), (spec, Box::new(function)));
        self
    }
}

#[async_trait]
impl Actuator for Actions {
    fn actions(&self) -> Vec<ActionSpec> {
        self.functions.values().map(|(spec, _)| spec.clone()).collect()
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        match self.functions.get_mut(&action.name) {
            Some((_, function)) => function(action.params.clone()),
            None => Err(DeviceError::new(
                DeviceErrorKind::Refused,
                format!("there is no action `{}`", action.name),
            )),
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
