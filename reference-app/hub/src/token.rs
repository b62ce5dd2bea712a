//! The command `iotpi-hub token`: accesses the store directly, so it works also while no hub runs, and
//! without a password. A user who can read the data folder has the rights of an admin in any case.

use std::path::Path;

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use iotpi_core::{ModuleId, SystemClock, Timestamp, model::id::UserName};
use iotpi_hub::{
    auth::{
        Role,
        token::{NewToken, issue, revoke},
    },
    store::{self, PageRequest, Store, TokenRecord},
};

use crate::config::HubPaths;

/// Subcommands for tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Creates a token and prints it, and nothing else. It cannot be shown again.
    #[command(after_help = ADD_HELP)]
    Add {
        /// The role of the token.
        #[arg(long, value_enum)]
        role: RoleWord,
        /// The module that a token of role `module` belongs to.
        #[arg(long, value_name = "ID", required_if_eq("role", "module"))]
        module: Option<ModuleId>,
        /// Revokes an existing token of that name.
        #[arg(long)]
        replace: bool,
        /// The name of the token, `[a-z0-9][a-z0-9_-]{0,63}`, unique among tokens. With role `module` it
        /// defaults to the module's id.
        #[arg(required_unless_present = "module")]
        name: Option<UserName>,
    },
    /// Lists the tokens, without their secrets.
    List,
    /// Revokes a token; the hub rejects it from then on.
    Revoke {
        /// The name or the id of the token.
        #[arg(value_name = "NAME|ID")]
        token: String,
    },
}

const ADD_HELP: &str = "Examples:
  iotpi-hub token add --role operator night-watch
  iotpi-hub token add --role module --module temperature > temperature.token

A request shows it as `Authorization: Bearer TOKEN`.";

/// The roles as values on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleWord {
    /// May read.
    Viewer,
    /// May also send commands and deliver readings.
    Operator,
    /// May also register and remove modules and create tokens.
    Admin,
    /// May deliver readings, receive commands and report as one module, and nothing else.
    Module,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Viewer => Self::Viewer,
            RoleWord::Operator => Self::Operator,
            RoleWord::Admin => Self::Admin,
            RoleWord::Module => Self::Module,
        }
    }
}

/// Runs the command on the store of the given hub.
pub fn run(paths: &HubPaths, command: TokenCommand) -> anyhow::Result<()> {
    let url = paths.config(None)?.store;
    if let Some(file) = url.strip_prefix("sqlite://").filter(|file| !Path::new(file).exists()) {
        // Correct before the first start; a warning in case the folder was mistyped.
        eprintln!(
            "iotpi-hub: there is no database at {file} yet; a new one is made. If a hub runs, is --data its folder?"
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

async fn carry_out(store: &dyn Store, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Add { role, module, replace, name } => {
            let Some(name) = name.or_else(|| module.as_ref().and_then(|id| UserName::new(id.as_str()).ok()))
            else {
                bail!("the token needs a name");
            };
            if replace {
                for token in all(store).await?.iter().filter(|token| token.name == name) {
                    revoke(store, &token.id).await?;
                }
            }
            let new = NewToken { name: name.clone(), role: role.into(), module_id: module };
            let issued = issue(store, new, SystemClock::shared().now())
                .await
                .with_context(|| format!("no token `{name}`"))?;
            println!("{}", issued.token);
        }
        TokenCommand::List => print_list(&all(store).await?),
        TokenCommand::Revoke { token } => {
            let tokens = all(store).await?;
            let Some(found) = tokens.iter().find(|t| t.id == token || t.name.as_str() == token) else {
                bail!("there is no token `{token}`: `iotpi-hub token list` shows those there are");
            };
            revoke(store, &found.id).await?;
        }
    }
    Ok(())
}

async fn all(store: &dyn Store) -> anyhow::Result<Vec<TokenRecord>> {
    let mut tokens = Vec::new();
    let mut page = PageRequest::default();
    loop {
        let next = store.tokens(&page).await?;
        tokens.extend(next.items);
        match next.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(tokens),
        }
    }
}

fn print_list(tokens: &[TokenRecord]) {
    println!("{:36}  {:8}  {:24}  {:24}  {:27}  LAST USED (HOUR)", "ID", "ROLE", "NAME", "MODULE", "MADE");
    for token in tokens {
        let module = token.module_id.as_ref().map_or("", ModuleId::as_str);
        let used = token.last_used_at.as_ref().map_or_else(|| "never".to_owned(), Timestamp::to_string);
        println!(
            "{:36}  {:8}  {:24}  {module:24}  {:27}  {used}",
            token.id,
            token.role.as_str(),
            token.name.as_str(),
            token.created_at.to_string()
        );
    }
}
