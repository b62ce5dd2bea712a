//! Checks this machine and the hub, and says how to correct each fault.

mod buses;
mod clock;
mod disk;
mod finding;
mod hub;
mod power;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use anyhow::bail;
use clap::Args;
use iotpi_core::HubClient;

use self::finding::{Finding, Level};
use crate::settings::Settings;

/// The arguments of the command.
#[derive(Debug, Args)]
pub struct Doctor {
    /// A settings file: the buses of its devices, its hub, its token and its outbox are checked, too.
    file: Option<PathBuf>,
    /// The folder that contains `/dev`, `/proc`, `/run` and `/sys`.
    #[arg(long, default_value = "/", hide = true)]
    root: PathBuf,
}

/// The machine to check.
struct Machine<'a> {
    root: &'a Path,
    /// Whether this process may read and write a device file.
    open: fn(&Path) -> io::Result<()>,
}

impl Machine<'_> {
    /// The place of an absolute path on this machine.
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The trimmed text of a file.
    fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }
}

fn open(file: &Path) -> io::Result<()> {
    File::options().read(true).write(true).open(file).map(drop)
}

/// Prints the findings.
///
/// # Errors
/// A wrong settings file, or a check that failed.
pub fn doctor(doctor: &Doctor) -> anyhow::Result<()> {
    let settings = doctor.file.as_deref().map(Settings::read).transpose()?;
    let machine = Machine { root: &doctor.root, open };
    let mut findings = local(&machine, settings.as_ref());
    if let Some(settings) = &settings {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        findings.extend(runtime.block_on(hub_of(settings)));
    }
    findings.iter().for_each(|finding| println!("{finding}"));
    match findings.iter().filter(|finding| finding.level == Level::Fail).count() {
        0 => Ok(()),
        1 => bail!("a check failed"),
        count => bail!("{count} checks failed"),
    }
}

fn local(machine: &Machine<'_>, settings: Option<&Settings>) -> Vec<Finding> {
    let mut findings = vec![power::check(machine), clock::check(machine)];
    findings.extend(buses::check(machine, settings));
    let outbox = settings.and_then(|settings| settings.outbox(None, std::env::var_os("STATE_DIRECTORY")));
    findings.extend(disk::check(machine, outbox.as_deref()));
    findings
}

async fn hub_of(settings: &Settings) -> Vec<Finding> {
    let url = settings.hub_url(std::env::var("IOTPI_URL").ok().as_deref());
    match HubClient::new(&url) {
        Ok(hub) => {
            let token = settings.token(None, std::env::var("IOTPI_TOKEN").ok());
            hub::check(&hub, &settings.id, token).await
        }
        Err(error) => {
            vec![Finding::fail("hub", format!("{url}: {error}"), "correct `hub` in the settings file")]
        }
    }
}

#[cfg(test)]
mod testing {
    use std::{fs, io, path::Path};

    use super::Machine;

    /// A folder with these files.
    pub fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        root
    }

    pub fn machine(root: &Path) -> Machine<'_> {
        Machine { root, open: super::open }
    }

    /// A machine whose device files this user must not open.
    pub fn locked(root: &Path) -> Machine<'_> {
        Machine { root, open: |_| Err(io::Error::from(io::ErrorKind::PermissionDenied)) }
    }
}
