//! Runs a module, and starts it again when its settings file has changed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use iotpi_core::{Runner, module::RunError};
use tokio_util::sync::CancellationToken;

use crate::{settings::Settings, stock::Stock};

const POLL: Duration = Duration::from_secs(2);

/// What runs: a runner, and the module of some settings.
pub type Job = (Runner, Stock);

/// Runs the module of a settings file until `stop` is cancelled. When the file has changed and has no faults, the
/// module ends as on a signal: its devices are made safe. Then the module of the new settings starts; if its
/// devices cannot be opened, that of the old ones. A file with faults changes nothing.
///
/// # Errors
/// [`RunError`], or the error of `open` at the start.
pub async fn run_until(
    file: &Path,
    mut settings: Settings,
    open: impl Fn(&Settings) -> anyhow::Result<Job>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut watch = SettingsWatch::new(file, settings.text());
    let mut job = open(&settings)?;
    loop {
        let end = stop.child_token();
        let (runner, module) = job;
        let mut running = Box::pin(runner.run_until(module, end.clone()));
        let changed = tokio::select! {
            ended = &mut running => return ended.map_err(Into::into),
            changed = watch.changed() => changed,
        };
        tracing::info!(module = %settings.id, file = %file.display(), "the settings have changed: starting again");
        end.cancel();
        match running.await {
            // The new settings may be the remedy.
            Err(error @ (RunError::Module(_) | RunError::Overran)) => {
                tracing::warn!(%error, "the module ended")
            }
            ended => ended?,
        }
        if stop.is_cancelled() {
            return Ok(());
        }
        job = match open(&changed) {
            Ok(job) => {
                settings = changed;
                job
            }
            Err(error) => {
                tracing::error!("the new settings cannot be used, the old ones stay: {error:#}");
                open(&settings).context("the old settings cannot be used any more")?
            }
        };
    }
}

/// Notices changes of a settings file by its content.
struct SettingsWatch {
    file: PathBuf,
    /// The text of the settings that were used or refused last.
    known: String,
    /// A text that was there at the last poll: an editor may still be writing it.
    unfinished: Option<String>,
}

impl SettingsWatch {
    fn new(file: &Path, known: &str) -> Self {
        Self { file: file.to_owned(), known: known.to_owned(), unfinished: None }
    }

    /// Waits for new settings without faults. Faults are logged once.
    ///
    /// # Cancel safety
    /// A cancelled call loses no change.
    async fn changed(&mut self) -> Settings {
        loop {
            tokio::time::sleep(POLL).await;
            let Some(text) = self.new_text() else { continue };
            match Settings::parse(&text) {
                Ok(settings) => return settings,
                Err(faults) => {
                    tracing::error!("{} is invalid, the old settings stay:\n{faults}", self.file.display());
                }
            }
        }
    }

    /// The text of the file, if it is new and has not changed since the last poll.
    fn new_text(&mut self) -> Option<String> {
        // While an editor replaces the file it may be missing.
        let text = fs::read_to_string(&self.file).ok()?;
        if text == self.known {
            self.unfinished = None;
            return None;
        }
        if self.unfinished.as_ref() != Some(&text) {
            self.unfinished = Some(text);
            return None;
        }
        self.unfinished = None;
        self.known.clone_from(&text);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use iotpi_core::{SystemClock, testing::RecordingUplink};
    use iotpi_hal::catalog::Setup;
    use serde_json::json;

    use super::*;

    const LAMP: &str =
        "id = \"lamp\"\ndescription = \"old\"\n[[device]]\ndriver = \"led\"\nbus = \"sim\"\npin = 17\n";

    /// A module that runs from a file.
    struct Running {
        folder: tempfile::TempDir,
        hub: RecordingUplink,
        stop: CancellationToken,
        module: tokio::task::JoinHandle<anyhow::Result<()>>,
    }

    impl Running {
        /// `open` fails for settings with this description.
        fn start(unusable: &'static str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (file, stop) = (folder.path().join("lamp.toml"), CancellationToken::new());
            fs::write(&file, LAMP).unwrap();
            let hub = RecordingUplink::new("lamp".parse().unwrap());
            let uplink = hub.clone();
            let open = move |settings: &Settings| {
                anyhow::ensure!(settings.description.as_deref() != Some(unusable), "the pin is in use");
                let module = Stock::open(settings, &Setup::new(SystemClock::shared()), None)?;
                Ok((Runner::new(uplink.clone()), module))
            };
            let until = stop.clone();
            let module =
                tokio::spawn(
                    async move { run_until(&file, Settings::parse(LAMP).unwrap(), open, until).await },
                );
            Self { folder, hub, stop, module }
        }

        fn write(&self, text: &str) {
            fs::write(self.folder.path().join("lamp.toml"), text).unwrap();
        }

        fn descriptions(&self) -> Vec<String> {
            self.hub.manifests().into_iter().filter_map(|manifest| manifest.description).collect()
        }

        async fn end(self) {
            self.stop.cancel();
            self.module.await.unwrap().unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn new_settings_start_the_module_again_after_its_devices_were_made_safe() {
        let running = Running::start("");
        running.hub.command("set", serde_json::from_str(r#"{"on": true}"#).unwrap());
        let is_on = |hub: &RecordingUplink, on: bool| {
            let states: Vec<_> = hub.reports().into_iter().filter_map(|report| report.state).collect();
            states.last().is_some_and(|state| state["on"] == json!(on))
        };
        running.hub.until(|hub| is_on(hub, true)).await;

        running.write(&LAMP.replace("old", "new"));
        running.hub.until(|hub| hub.manifests().len() == 2).await;

        assert_eq!(running.descriptions(), ["old", "new"]);
        assert!(is_on(&running.hub, false));
        running.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_with_faults_or_without_content_changes_nothing() {
        let running = Running::start("");
        running.hub.until(|hub| hub.manifests().len() == 1).await;

        for broken in [LAMP.replace("pin = 17", "pin = 40"), String::new(), LAMP.replace('"', "")] {
            running.write(&broken);
            tokio::time::sleep(POLL * 4).await;
        }
        running.write(&LAMP.replace("old", "new"));
        running.hub.until(|hub| hub.manifests().len() == 2).await;

        assert_eq!(running.descriptions(), ["old", "new"]);
        running.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn devices_that_cannot_be_opened_bring_the_old_settings_back() {
        let running = Running::start("unusable");
        running.hub.until(|hub| hub.manifests().len() == 1).await;

        running.write(&LAMP.replace("old", "unusable"));
        running.hub.until(|hub| hub.manifests().len() == 2).await;

        assert_eq!(running.descriptions(), ["old", "old"]);
        running.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_still_written_is_not_read_yet() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lamp.toml");
        let mut watch = SettingsWatch::new(&file, LAMP);

        fs::write(&file, format!("{LAMP}# half")).unwrap();
        assert_eq!(watch.new_text(), None);
        fs::write(&file, format!("{LAMP}# whole")).unwrap();
        assert_eq!(watch.new_text(), None);

        assert_eq!(watch.new_text(), Some(format!("{LAMP}# whole")));
        assert_eq!(watch.new_text(), None);
    }
}
