//! The command `iotpi-hub user`: accesses the store directly, as `iotpi-hub token` does, so it works whether
//! or not the hub runs, and without a password. A user who can write to the data folder has the rights of an
//! admin in any case, so a forgotten password locks nobody out.

use std::{
    io::{IsTerminal as _, Read as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use iotpi_core::{
    SystemClock, Timestamp,
    model::{error::ErrorKind, id::UserName},
};
use iotpi_hub::{
    HubError,
    auth::{
        Role,
        user::{self, NewUser},
    },
    store::{self, Now, PageRequest, Steady, Store, UserListing},
};

use crate::config::HubPaths;

/// The limit of bytes read from standard input for a password; a password has up to 256 characters.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Subcommands for users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Adds a user. Prompts for the password twice.
    Add {
        /// The role of the user.
        #[arg(long, value_enum)]
        role: RoleWord,
        #[command(flatten)]
        password: PasswordSource,
        /// The name to log in with, `[a-z0-9][a-z0-9_-]{0,63}`.
        name: UserName,
    },
    /// Replaces a user's password and ends their sessions. Prompts for the new password twice.
    Passwd {
        #[command(flatten)]
        password: PasswordSource,
        /// The name of the user.
        name: UserName,
    },
    /// Changes the role of a user. It takes effect with their next request.
    Role {
        /// The name of the user.
        name: UserName,
        /// The new role.
        #[arg(value_enum)]
        role: RoleWord,
    },
    /// Lists the users.
    List,
    /// Removes a user and ends their sessions.
    Remove {
        /// The name of the user.
        name: UserName,
    },
}

/// The source of a new password: never the command line, which every user of the machine can read.
#[derive(Debug, Args)]
pub struct PasswordSource {
    /// Reads the password from standard input instead of prompting for it; one trailing line break is
    /// removed.
    #[arg(long)]
    password_stdin: bool,
}

/// The roles of users as values on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleWord {
    /// May read.
    Viewer,
    /// May also send commands and deliver readings.
    Operator,
    /// May also register and remove modules and create tokens.
    Admin,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Viewer => Self::Viewer,
            RoleWord::Operator => Self::Operator,
            RoleWord::Admin => Self::Admin,
        }
    }
}

/// Runs the command on the store of the given hub.
pub fn run(paths: &HubPaths, command: UserCommand) -> anyhow::Result<()> {
    let url = paths.config(None)?.store;
    if let Some(file) = store::file(&url).filter(|file| !Path::new(file).exists()) {
        let file = file.display();
        if !matches!(command, UserCommand::Add { .. }) {
            bail!("there is no database at {file}: name the hub's data folder with --data");
        }
        eprintln!(
            "iotpi-hub: there is no database at {file}; a new one is made. If a hub runs, is --data its folder?"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = store::open(&url).await.with_context(|| format!("the store {url} cannot be used"))?;
        let done = carry_out(store.as_ref(), command).await;
        store.close().await?;
        done
    })
}

async fn carry_out(store: &dyn Store, command: UserCommand) -> anyhow::Result<()> {
    let now = SystemClock::shared().now();
    match command {
        UserCommand::Add { role, password, name } => {
            if store.user(&name).await?.is_some() {
                bail!(
                    "there is already a user `{name}`: `iotpi-hub user passwd {name}` replaces the password"
                );
            }
            let new = NewUser { name, role: role.into(), password: password.read()? };
            user::add(store, new, now).await?;
        }
        UserCommand::Passwd { password, name } => {
            if store.user(&name).await?.is_none() {
                return Err(unknown(&name));
            }
            user::set_password(store, &name, password.read()?).await.map_err(|error| named(error, &name))?;
        }
        UserCommand::Role { name, role } => {
            user::set_role(store, &name, role.into()).await.map_err(|error| named(error, &name))?;
        }
        UserCommand::List => print_list(&all(store, now).await?),
        UserCommand::Remove { name } => {
            user::remove(store, &name).await.map_err(|error| named(error, &name))?;
        }
    }
    Ok(())
}

fn named(error: HubError, name: &UserName) -> anyhow::Error {
    if error.kind() == ErrorKind::NotFound { unknown(name) } else { error.into() }
}

fn unknown(name: &UserName) -> anyhow::Error {
    anyhow::anyhow!("there is no user `{name}`: `iotpi-hub user list` shows all of them")
}

impl PasswordSource {
    fn read(&self) -> anyhow::Result<String> {
        if self.password_stdin {
            let mut text = String::new();
            let mut input = std::io::stdin().take(MAX_PASSWORD_BYTES);
            input.read_to_string(&mut text).context("the password cannot be read from standard input")?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            return Ok(line.strip_suffix('\r').unwrap_or(line).to_owned());
        }
        if !std::io::stdin().is_terminal() {
            bail!("standard input is not a terminal: pipe the password in and add --password-stdin");
        }
        let password = rpassword::prompt_password("New password: ")?;
        if rpassword::prompt_password("The same again: ")? != password {
            bail!("the two passwords differ; nothing was changed");
        }
        Ok(password)
    }
}

async fn all(store: &dyn Store, now: Timestamp) -> anyhow::Result<Vec<UserListing>> {
    let mut users = Vec::new();
    let mut page = PageRequest::default();
    loop {
        let next = store.users(&page, Now { wall: now, steady: Steady(now) }).await?;
        users.extend(next.items);
        match next.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(users),
        }
    }
}

fn print_list(users: &[UserListing]) {
    println!("{:24}  {:8}  {:27}  {:>8}  LAST LOGIN", "NAME", "ROLE", "ADDED", "SESSIONS");
    for user in users {
        let login = user.last_login_at.as_ref().map_or_else(|| "-".to_owned(), Timestamp::to_string);
        println!(
            "{:24}  {:8}  {:27}  {:>8}  {login}",
            user.name.as_str(),
            user.role.as_str(),
            user.created_at.to_string(),
            user.sessions
        );
    }
}
