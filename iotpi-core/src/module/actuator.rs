//! A module that runs commands on an actuator.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{task::JoinError, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    any_error::error_chain,
    client::backoff::Backoff,
    device::{Actuator, DeviceErrorKind},
    model::{
        command::{
            Action, Command, CommandOutcome, CommandReport, LeasedCommand, MAX_ERROR_LEN, StatusReport,
        },
        command_id::CommandId,
        error::ErrorKind,
        manifest::{ActionSpec, Manifest},
    },
    module::{Module, ModuleError, command_log::CommandLog, safety_lease::SafetyLeases},
    uplink::{Uplink, UplinkError},
};

/// The duration of one long poll for commands.
const POLL: Duration = Duration::from_secs(25);
/// The number of finished commands that are remembered. A command that is delivered again is answered from
/// memory and not run again.
const REMEMBERED: usize = 64;
/// The time an action in progress gets after the module was asked to stop.
const GRACE: Duration = Duration::from_millis(750);
/// The error of an action that exceeded it.
const CUT_OFF: &str = "the module was stopped meanwhile";
/// The time a stopping module waits for the hub to accept its last reports. Together with the rest it is less
/// than the runner's grace period, so an unresponsive hub does not keep a device from its safe state.
const LAST_WORD: Duration = Duration::from_millis(250);

/// Claims commands for an [`Actuator`], runs them one after the other, and reports each outcome with the
/// device's state.
///
/// A command whose lifetime or lease has ended is not run. A hazardous one starts only after the hub has
/// confirmed its `started` report. The device is put into its safe state when the issuer of a `while_alive`
/// action or the hub is absent for longer than the action's limit, at the start of a module with such actions
/// (the previous process may have crashed), and when the module ends.
///
/// ```
/// use iotpi_core::{Actuator, ActuatorModule};
///
/// fn module(lamp: impl Actuator) -> ActuatorModule<impl Actuator> {
///     ActuatorModule::new(lamp).described("The lamp in the hall").with_command_log("/var/lib/lamp/commands")
/// }
/// ```
#[derive(Debug)]
pub struct ActuatorModule<A> {
    actuator: A,
    description: Option<String>,
    done: VecDeque<(CommandId, CommandOutcome)>,
    command_log: CommandLog,
    safety: SafetyLeases,
}

/// The circumstances in which commands are run.
struct RunMode<'a> {
    up: &'a Arc<dyn Uplink>,
    stop: &'a CancellationToken,
    /// The time at which the commands were delivered.
    since: Instant,
    /// Whether the module keeps running afterwards and can end effects that may not last.
    stays: bool,
}

impl<A: Actuator> ActuatorModule<A> {
    /// Creates a module that runs commands on `actuator`.
    #[must_use]
    pub fn new(actuator: A) -> Self {
        Self {
            actuator,
            description: None,
            done: VecDeque::new(),
            command_log: CommandLog::default(),
            safety: SafetyLeases::default(),
        }
    }

    /// Sets the description in the manifest.
    #[must_use]
    pub fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds a command log: a small file in which hazardous commands are recorded before they start and when
    /// they end. After a crash the module immediately reports what it knows about them, and never runs one
    /// again. The file and its directory are created if missing. Two modules must not share one.
    #[must_use]
    pub fn with_command_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.command_log = CommandLog::new(path.into());
        self
    }

    /// Runs a command unless it was run before or its time is over. `None` if there is nothing to report.
    async fn run_command(&mut self, leased: &LeasedCommand, duty: &RunMode<'_>) -> Option<CommandOutcome> {
        let command = &leased.command;
        if let Some((_, outcome)) = self.done.iter().find(|(id, _)| id == &command.id) {
            return Some(outcome.clone());
        }
        if let Some(outcome) = self.command_log.outcome(&command.id) {
            return Some(outcome);
        }
        let left = time_left(leased, duty.since)?;
        let spec = self.actuator.actions().into_iter().find(|spec| spec.name == command.action);
        let limit = spec.as_ref().and_then(ActionSpec::alive_limit);
        if limit.is_some() && !duty.stays {
            let error =
                "the effect of this action depends on the presence of its issuer, which a module that runs once cannot watch".to_owned();
            return Some(CommandOutcome::Rejected { error });
        }
        // Either of the two counts: the manifest may have changed since the command was sent.
        let hazardous = leased.hazardous || spec.is_some_and(|spec| spec.hazardous);
        if hazardous {
            match self.report_started(leased, left, duty).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(reason) => return Some(CommandOutcome::Failed { error: truncate(&reason) }),
            }
        }
        let outcome = match (self.perform(command, duty.stop).await, hazardous) {
            (Some(outcome), _) => outcome,
            // Started and cut off: it is unknown how far it got.
            (None, true) => CommandOutcome::UnknownOutcome { error: CUT_OFF.to_owned() },
            (None, false) => CommandOutcome::Failed { error: CUT_OFF.to_owned() },
        };
        if hazardous {
            self.command_log.record_outcome(&command.id, &outcome).await;
        }
        // A failed action may have taken effect partly.
        if let Some(limit) = limit
            && !matches!(outcome, CommandOutcome::Rejected { .. })
        {
            self.safety.hold(duty.up, command.action.clone(), command.id.clone(), limit);
        }
        if self.done.len() == REMEMBERED {
            self.done.pop_front();
        }
        self.done.push_back((command.id.clone(), outcome.clone()));
        Some(outcome)
    }

    /// Reports the start of a hazardous command to the hub and the command log. Returns `false` if its lease
    /// has ended, or an error if the report failed in time.
    async fn report_started(
        &mut self,
        leased: &LeasedCommand,
        left: Duration,
        duty: &RunMode<'_>,
    ) -> Result<bool, String> {
        let (id, lease) = (leased.command.id.clone(), leased.lease.clone());
        let started = CommandReport { id, lease, outcome: CommandOutcome::Started };
        let started = StatusReport { command: Some(started), ..StatusReport::default() };
        let reported = tokio::select! {
            reported = tokio::time::timeout(left, duty.up.report(started)) => reported,
            () = duty.stop.cancelled() => return Err("not started: the module was stopped".to_owned()),
        };
        match reported {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                return Ok(false);
            }
            Ok(Err(error)) => return Err(format!("not started: {}", error_chain(&error))),
            Err(_) => return Err("not started: the hub did not answer in time".to_owned()),
        }
        // The hub's answer may have taken so long that it is too late anyway.
        if time_left(leased, duty.since).is_none() {
            return Err("not started: the hub's answer came too late".to_owned());
        }
        match self.command_log.record_start(&leased.command.id, &leased.lease).await {
            Ok(()) => Ok(true),
            Err(error) => Err(format!("not started: the command log cannot be written: {error}")),
        }
    }

    /// Runs the action; `None` if it was cut off because the module was stopped.
    async fn perform(&mut self, command: &Command, stop: &CancellationToken) -> Option<CommandOutcome> {
        let action = Action { name: command.action.clone(), params: command.params.clone() };
        let performed = tokio::select! {
            performed = self.actuator.perform(&action) => performed,
            () = stopped_and_grace_over(stop, GRACE) => return None,
        };
        Some(match performed {
            Ok(result) => CommandOutcome::Succeeded { result: Some(result).filter(|r| !r.is_null()) },
            Err(error) => {
                let kind = error.kind();
                let error = truncate(&error_chain(&error));
                match kind {
                    DeviceErrorKind::Refused => CommandOutcome::Rejected { error },
                    _ => CommandOutcome::Failed { error },
                }
            }
        })
    }

    fn report(&self, leased: &LeasedCommand, outcome: CommandOutcome) -> StatusReport {
        let command = CommandReport { id: leased.command.id.clone(), lease: leased.lease.clone(), outcome };
        StatusReport { command: Some(command), ..self.state_report() }
    }

    fn state_report(&self) -> StatusReport {
        let state = self.actuator.state();
        StatusReport { state: (!state.is_empty()).then_some(state), ..StatusReport::default() }
    }

    /// The reports that the previous process could not send.
    async fn unreported(&mut self) -> VecDeque<StatusReport> {
        let left = self.command_log.open().await;
        left.into_iter()
            .map(|report| StatusReport { command: Some(report), ..StatusReport::default() })
            .collect()
    }

    /// Runs commands until the module is asked to stop; returns the unsent reports.
    async fn serve_commands(
        &mut self,
        up: &Arc<dyn Uplink>,
        stop: &CancellationToken,
    ) -> VecDeque<StatusReport> {
        let mut backoff = Backoff::default();
        // The unsent reports, oldest first.
        let mut untold = self.unreported().await;
        untold.push_back(self.state_report());
        // The long poll in progress. It is a separate task: a cancelled claim may have leased a command, and
        // one whose answer is processed late would seem delivered later than it was.
        let mut question: Option<AbortOnDropHandle<_>> = None;
        while !stop.is_cancelled() {
            if self.safety.is_expired() {
                untold.push_back(self.make_safe_and_report(up).await);
                continue;
            }
            let tried = match untold.front() {
                Some(report) => tokio::select! {
                    () = stopped_and_grace_over(stop, LAST_WORD) => break,
                    () = self.safety.expired() => continue,
                    sent = send(up, report.clone()) => sent.map(|()| self.mark_reported(untold.pop_front())),
                },
                None => {
                    let claimed = question
                        .get_or_insert_with(|| AbortOnDropHandle::new(tokio::spawn(claim(up.clone()))));
                    let claimed = tokio::select! {
                        () = stop.cancelled() => break,
                        () = self.safety.expired() => continue,
                        claimed = claimed => claimed,
                    };
                    question = None;
                    match claimed.map_err(into_panic) {
                        Ok((since, Ok(commands))) => {
                            let duty = RunMode { up, stop, since, stays: true };
                            untold = self.run_commands(commands, &duty).await;
                            Ok(())
                        }
                        Ok((_, Err(error))) => Err(error),
                        Err(()) => break,
                    }
                }
            };
            match tried {
                Ok(()) => backoff.succeeded(),
                Err(error) => {
                    tracing::debug!(module = %up.module_id(), %error, "the hub does not answer");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = self.safety.expired() => {}
                        () = tokio::time::sleep(backoff.failed()) => {}
                    }
                }
            }
        }
        untold
    }

    fn mark_reported(&mut self, report: Option<StatusReport>) {
        if let Some(command) = report.and_then(|report| report.command) {
            self.command_log.mark_reported(&command.id);
        }
    }

    /// Puts the device into its safe state because the issuer is absent; returns the report.
    async fn make_safe_and_report(&mut self, up: &Arc<dyn Uplink>) -> StatusReport {
        tracing::warn!(module = %up.module_id(), "the issuer or the hub is absent: putting the device into its safe state");
        match self.actuator.make_safe().await {
            Ok(()) => self.safety.release(),
            Err(error) => {
                tracing::error!(module = %up.module_id(), %error, "the device could not be made safe");
                self.safety.retry();
            }
        }
        self.state_report()
    }

    /// The effects of the previous process may last only while the issuer is present, and it may have
    /// crashed.
    async fn start_safe(&mut self, up: &Arc<dyn Uplink>) {
        let lasts = self.actuator.actions().iter().any(|spec| spec.alive_limit().is_some());
        if lasts && let Err(error) = self.actuator.make_safe().await {
            tracing::error!(module = %up.module_id(), %error, "the device could not be made safe");
        }
    }

    /// Runs the claimed commands and returns the reports.
    async fn run_commands(
        &mut self,
        commands: Vec<LeasedCommand>,
        duty: &RunMode<'_>,
    ) -> VecDeque<StatusReport> {
        let mut reports = VecDeque::with_capacity(commands.len());
        for leased in commands {
            if self.safety.is_expired() {
                reports.push_back(self.make_safe_and_report(duty.up).await);
            }
            match self.run_command(&leased, duty).await {
                Some(outcome) => reports.push_back(self.report(&leased, outcome)),
                None => {
                    tracing::warn!(module = %duty.up.module_id(), command = %leased.command.id, "came too late, not done");
                }
            }
        }
        reports
    }

    /// Puts the device into its safe state, then sends the unsent reports and the state, if the hub answers.
    async fn end(&mut self, up: &Arc<dyn Uplink>, untold: VecDeque<StatusReport>) -> Result<(), ModuleError> {
        self.safety.release();
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
        // A hub that is unreachable delivers the command again, and learns the state at the next start.
        let _ = tokio::time::timeout(LAST_WORD, last_words).await;
        Ok(safe?)
    }
}

/// The time for which a command may still be started, from its delivery; `None` if its lifetime or its lease
/// has ended. After its lease a command is delivered again.
fn time_left(leased: &LeasedCommand, since: Instant) -> Option<Duration> {
    let secs = leased.expires_in.min(leased.lease_secs);
    let left = Duration::try_from_secs_f64(secs).ok()?.checked_sub(since.elapsed())?;
    (!left.is_zero()).then_some(left)
}

/// Claims commands and returns them with the time of their delivery.
async fn claim(up: Arc<dyn Uplink>) -> (Instant, Result<Vec<LeasedCommand>, UplinkError>) {
    let claimed = up.claim(POLL).await;
    (Instant::now(), claimed)
}

/// Propagates a panic of the long poll.
fn into_panic(failed: JoinError) {
    if let Ok(panic) = failed.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

/// Truncates an error to the maximum length of an outcome.
fn truncate(error: &str) -> String {
    error.chars().take(MAX_ERROR_LEN).collect()
}

/// Returns when the module was asked to stop and the grace period is over.
async fn stopped_and_grace_over(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// Sends a report; one that the hub will never accept is dropped.
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
impl<A: Actuator> Module for ActuatorModule<A> {
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
        self.start_safe(&up).await;
        let untold = self.serve_commands(&up, &stop).await;
        self.end(&up, untold).await
    }

    async fn run_once(mut self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        for report in self.unreported().await {
            send(&up, report.clone()).await?;
            self.mark_reported(Some(report));
        }
        let commands = up.claim(Duration::ZERO).await?;
        let stop = CancellationToken::new();
        let duty = RunMode { up: &up, stop: &stop, since: Instant::now(), stays: false };
        for report in self.run_commands(commands, &duty).await {
            up.report(report).await?;
        }
        Ok(())
    }
}
