//! A durable log of the hazardous commands that the module started, and of their outcomes.
//!
//! The hub's `started` mark keeps a hazardous command from being delivered twice. This log belongs to the
//! module: after a crash the module immediately reports that an outcome is unknown, or the outcome itself if
//! only the report was missing. It also protects against a hub that comes back with an older database.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    durable_file,
    model::{
        command::{CommandOutcome, CommandReport},
        command_id::{CommandId, LeaseId},
    },
};

/// The number of logged commands. The oldest are dropped first, unreported ones last.
const REMEMBERED: usize = 64;
/// The error of a command that was started and has no outcome.
const INTERRUPTED: &str = "the module was interrupted after it had begun";

/// A small file of hazardous commands, or none. It is written as a whole to a new file, which replaces the
/// old one once it is on disk: a power cut leaves the one or the other.
#[derive(Debug, Default)]
pub(crate) struct CommandLog {
    path: Option<PathBuf>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    /// The outcome is `started` as long as there is no other.
    report: CommandReport,
    /// Whether the hub has confirmed the report.
    #[serde(rename = "told")]
    is_reported: bool,
}

impl CommandLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: Some(path), entries: Vec::new() }
    }

    /// Reads the log of the previous process and returns the unreported outcomes, oldest first. An unreadable
    /// file is renamed: the hub has its own mark.
    pub(crate) async fn open(&mut self) -> Vec<CommandReport> {
        let Some(path) = self.path.clone() else { return Vec::new() };
        let read = blocking(move || match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<Vec<Entry>>(&bytes) {
                Ok(entries) => Ok(entries),
                Err(error) => {
                    let renamed = path.with_extension("unreadable");
                    tracing::error!(path = %path.display(), %error, renamed = %renamed.display(), "the unreadable command log was renamed");
                    fs::rename(&path, renamed)?;
                    Ok(Vec::new())
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        });
        match read.await {
            Ok(entries) => self.entries = entries,
            Err(error) => tracing::error!(%error, "the command log cannot be read"),
        }
        for entry in &mut self.entries {
            if entry.report.outcome == CommandOutcome::Started {
                entry.report.outcome = CommandOutcome::UnknownOutcome { error: INTERRUPTED.to_owned() };
            }
        }
        self.entries.iter().filter(|entry| !entry.is_reported).map(|entry| entry.report.clone()).collect()
    }

    /// The outcome of a command that was started by this process or a previous one.
    pub(crate) fn outcome(&self, id: &CommandId) -> Option<CommandOutcome> {
        self.entries.iter().find(|entry| &entry.report.id == id).map(|entry| entry.report.outcome.clone())
    }

    /// Records that the command is about to start. It may start once this is `Ok`.
    pub(crate) async fn record_start(&mut self, id: &CommandId, lease: &LeaseId) -> io::Result<()> {
        let report = CommandReport { id: id.clone(), lease: lease.clone(), outcome: CommandOutcome::Started };
        if self.entries.len() >= REMEMBERED {
            let oldest = self.entries.iter().position(|entry| entry.is_reported).unwrap_or(0);
            self.entries.remove(oldest);
        }
        self.entries.push(Entry { report, is_reported: false });
        let written = self.write().await;
        if written.is_err() {
            self.entries.pop();
        }
        written
    }

    /// Records the outcome of the command that was started last.
    pub(crate) async fn record_outcome(&mut self, id: &CommandId, outcome: &CommandOutcome) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| &entry.report.id == id) {
            entry.report.outcome = outcome.clone();
            if let Err(error) = self.write().await {
                // On disk the command stays `started`, which is true, though incomplete.
                tracing::error!(command = %id, %error, "the command log cannot be written");
            }
        }
    }

    /// Records that the hub has confirmed the outcome. It is written with the next command: a repeated report
    /// does no harm.
    pub(crate) fn mark_reported(&mut self, id: &CommandId) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| &entry.report.id == id) {
            entry.is_reported = true;
        }
    }

    async fn write(&self) -> io::Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let bytes = serde_json::to_vec(&self.entries)?;
        blocking(move || write(&path, &bytes)).await
    }
}

/// Writes the file, and creates its folder if necessary.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    durable_file::replace(path, bytes)
}

/// Runs a blocking disk operation on a separate thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(reports: &[CommandReport]) -> Vec<&str> {
        reports.iter().map(|report| report.id.as_str()).collect()
    }

    fn succeeded() -> CommandOutcome {
        CommandOutcome::Succeeded { result: Some(serde_json::json!({"open": true})) }
    }

    #[tokio::test]
    async fn the_next_process_reads_the_started_commands_and_their_outcomes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/commands.json");
        let (a, b, c) = (CommandId::from("a"), CommandId::from("b"), CommandId::from("c"));
        let mut first = CommandLog::new(path.clone());
        assert_eq!(first.open().await, []);
        for id in [&a, &b, &c] {
            first.record_start(id, &format!("lease-{id}").into()).await.unwrap();
        }
        first.record_outcome(&a, &succeeded()).await;
        first.mark_reported(&a);
        first.record_outcome(&b, &succeeded()).await;
        drop(first);

        let mut second = CommandLog::new(path.clone());
        let untold = second.open().await;

        assert_eq!(ids(&untold), ["b", "c"]);
        assert_eq!((untold[0].lease.as_str(), &untold[0].outcome), ("lease-b", &succeeded()));
        assert_eq!(untold[1].outcome.state(), crate::model::command::CommandState::UnknownOutcome);
        assert_eq!(second.outcome(&a), Some(succeeded()));
        assert_eq!(second.outcome(&"d".into()), None);
        let left: Vec<_> =
            path.parent().unwrap().read_dir().unwrap().map(|f| f.unwrap().file_name()).collect();
        assert_eq!(left, ["commands.json"]);
    }

    #[tokio::test]
    async fn the_log_is_bounded_and_drops_reported_commands_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut command_log = CommandLog::new(folder.path().join("commands.json"));

        for n in 0..REMEMBERED + 2 {
            let id = CommandId::from(n.to_string());
            command_log.record_start(&id, &"l".into()).await.unwrap();
            if n != 0 {
                command_log.mark_reported(&id);
            }
        }

        assert_eq!(command_log.entries.len(), REMEMBERED);
        assert_eq!(ids(&command_log.open().await)[0], "0");
        assert_eq!(command_log.outcome(&"1".into()), None);
    }

    #[tokio::test]
    async fn an_invalid_file_is_moved_out_of_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.json");
        fs::write(&path, "{\"half").unwrap();

        let mut command_log = CommandLog::new(path.clone());

        assert_eq!(command_log.open().await, []);
        assert!(!path.exists());
        assert_eq!(fs::read(path.with_extension("unreadable")).unwrap(), b"{\"half");
        command_log.record_start(&"a".into(), &"l".into()).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_logged_does_not_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let mut command_log = CommandLog::new(folder.path().join("file/commands.json"));

        assert!(command_log.record_start(&"a".into(), &"l".into()).await.is_err());
        assert_eq!(command_log.outcome(&"a".into()), None);
    }
}
