//! Sending a command, and waiting for its outcome.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, sleep};

use super::http::{Call, Http, percent_encoded};
use crate::{
    client::backoff::{Backoff, pause},
    model::{
        command::{Command, NewCommand},
        id::ModuleId,
        idempotency_key::IdempotencyKey,
    },
    uplink::UplinkError,
};

/// The first and the longest pause between two requests for the state of a command.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A command that is about to be sent: see [`HubClient::control`](crate::HubClient::control).
///
/// Awaiting it sends the command and returns it as the hub stored it; [`wait`](Self::wait) returns it in its
/// final state.
///
/// ```no_run
/// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
/// use iotpi_core::NewCommand;
///
/// let stop = NewCommand::new("stop".parse()?);
/// let command = hub.control(&"blind".parse()?, &stop).once("stop-2026-11-28".parse()?).wait().await?;
/// println!("{}", command.state.as_str());
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "the command is sent when this is awaited"]
pub struct ControlRequest {
    http: Http,
    path: String,
    command: NewCommand,
    key: Option<IdempotencyKey>,
}

impl ControlRequest {
    pub(super) fn new(http: Http, module_id: &ModuleId, command: NewCommand) -> Self {
        Self { http, path: format!("/api/modules/{module_id}/control"), command, key: None }
    }

    /// Sets an idempotency key: a repeated request with the same key, after a lost answer, returns the first
    /// command. The key is kept as long as the command, at least until that has ended. A key of a different
    /// request is the error `Conflict`.
    pub fn once(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sends the command and waits until it has reached its final state. A failed command is not an error: see
    /// [`Command::state`](crate::model::command::Command::state).
    ///
    /// A command whose module is absent ends as `expired` after its lifetime.
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` if the module's manifest does not offer the action. If the hub becomes
    /// unreachable while it waits, it tries again for the time limit of the client's requests.
    ///
    /// # Cancel safety
    /// A cancelled wait leaves the command as it is.
    pub async fn wait(self) -> Result<Command, UplinkError> {
        let http = self.http.clone();
        let mut command = self.await?;
        let (mut interval, mut backoff) = (FIRST_PAUSE, Backoff::default());
        let mut answered_at = Instant::now();
        while !command.is_finished() {
            sleep(interval).await;
            let path = format!("/api/commands/{}", percent_encoded(command.id.as_str()));
            match http.json(Call::get(path)).await {
                Ok(current) => {
                    command = current;
                    backoff.succeeded();
                    answered_at = Instant::now();
                    interval = (interval * 2).min(LONGEST_PAUSE);
                }
                Err(error) if error.is_transient() && answered_at.elapsed() < http.deadline => {
                    interval = pause(&mut backoff, &error).max(FIRST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(command)
    }
}

impl IntoFuture for ControlRequest {
    type Output = Result<Command, UplinkError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let call = Call::post(self.path).json(&self.command);
            self.http.json(self.key.iter().fold(call, |call, key| call.once(key.as_str()))).await
        })
    }
}
