//! The settings of the hub, in this order of precedence: command line, environment, config file, defaults.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use iotpi_hub::Config;

/// Every setting with its default; a test keeps the file complete.
pub const EXAMPLE: &str = include_str!("../iotpi-hub.toml");

/// The data folder of a hub installed on a Raspberry Pi.
const INSTALLED: &str = "/var/lib/iotpi";
/// The data folder of a hub that is not installed.
const HERE: &str = "iotpi-data";
/// The database in the data folder.
const DATABASE: &str = "hub.db";

/// The config file and data folder of a hub.
#[derive(Debug, Clone, Default, Args)]
pub struct HubPaths {
    /// The config file (TOML); `iotpi-hub config` prints an example.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The data folder; created if missing. Default: the config's `store`, else /var/lib/iotpi if it is
    /// writable, else ./iotpi-data.
    #[arg(long, value_name = "DIR", env = "IOTPI_DATA", global = true)]
    data: Option<PathBuf>,
}

impl HubPaths {
    /// Reads the complete config.
    pub fn config(&self, listen: Option<SocketAddr>) -> anyhow::Result<Config> {
        let text = match &self.config {
            Some(file) => {
                fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
            }
            None => String::new(),
        };
        let shown = self.config.as_deref().unwrap_or(Path::new("the config")).display().to_string();
        // The message of toml shows the line and the position.
        let mut config: Config = toml::from_str(&text).with_context(|| format!("{shown} is invalid"))?;
        let says_store = toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.contains_key("store"));
        if let Some(listen) = listen {
            config.listen = listen;
        }
        if self.data.is_some() || !says_store {
            config.store = self.store()?;
        }
        Ok(config)
    }

    /// The database file of a hub with this config.
    pub fn database(&self, config: &Config) -> anyhow::Result<PathBuf> {
        iotpi_hub::store::file(&config.store).with_context(|| format!("{} is no file", config.store))
    }

    /// The URL of the database in the data folder.
    fn store(&self) -> anyhow::Result<String> {
        let folder = self.data.clone().unwrap_or_else(default_data);
        let folder = std::path::absolute(&folder).context("the data folder cannot be found")?;
        let file = folder.join(DATABASE);
        let path = file.to_str().with_context(|| format!("{} is not UTF-8", folder.display()))?;
        Ok(format!("sqlite://{path}"))
    }
}

fn default_data() -> PathBuf {
    let writable = rustix::fs::access(INSTALLED, rustix::fs::Access::WRITE_OK).is_ok();
    if writable { INSTALLED } else { HERE }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str, data: Option<&str>) -> (tempfile::TempDir, HubPaths) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.toml");
        fs::write(&file, text).unwrap();
        (folder, HubPaths { config: Some(file), data: data.map(Into::into) })
    }

    #[test]
    fn the_example_shows_every_setting_with_its_default() {
        let shown: toml::Table = toml::from_str(EXAMPLE).unwrap();

        let mut defaults = toml::Table::try_from(Config::default()).unwrap();
        // The default of `store` depends on the user who runs the hub; the example explains it in a comment.
        defaults.remove("store");
        assert!(EXAMPLE.contains("# store = \"sqlite:///"));
        assert_eq!(shown, defaults);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let text = "listen = \"0.0.0.0:80\"\nstore = \"sqlite:///elsewhere/hub.db\"\n";
        let (_folder, with_data) = paths(text, Some("/data"));
        let (_other_folder, default_data) = paths(text, None);

        let with_data = with_data.config(Some("127.0.0.1:9000".parse().unwrap())).unwrap();
        let default_data = default_data.config(None).unwrap();

        assert_eq!((with_data.listen.port(), with_data.store.as_str()), (9000, "sqlite:///data/hub.db"));
        assert_eq!(
            (default_data.listen.port(), default_data.store.as_str()),
            (80, "sqlite:///elsewhere/hub.db")
        );
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let (_folder, paths) = paths("[http]\nmax_conections = 5\n", None);

        let error = format!("{:#}", paths.config(None).unwrap_err());

        assert!(error.contains("line 2") && error.contains("max_conections"), "{error}");
    }

    #[test]
    fn without_a_file_everything_has_its_default() {
        let config = HubPaths { config: None, data: Some("/data".into()) }.config(None).unwrap();

        assert_eq!(config, Config { store: "sqlite:///data/hub.db".to_owned(), ..Config::default() });
    }
}
