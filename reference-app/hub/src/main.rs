//! The hub as a program: reads a config file and the environment, which the library never does, and serves.
#![forbid(unsafe_code)]

mod backup;
mod check;
mod config;
mod db;
mod key;
mod restore;
mod serve;
mod token;
mod user;
mod watchdog;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::{
    backup::Backup, check::Check, config::HubPaths, db::Db, key::KeyCommand, restore::Restore, serve::Serve,
    token::TokenCommand, user::UserCommand,
};

/// The hub of an iotpi system: stores readings, streams cameras, queues commands and serves the dashboard.
#[derive(Debug, Parser)]
#[command(version, about, name = "iotpi-hub", subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the hub until SIGHUP (the terminal is closed), Ctrl-C, SIGQUIT or SIGTERM. Started with SIGHUP
    /// ignored (`nohup`), it keeps running without its terminal.
    ///
    /// Prints `iotpi-hub listening on http://ADDR:PORT` once it listens. While there is no user, it first
    /// prints the one-time code with which the browser creates the first admin. Logs are written to standard
    /// error; RUST_LOG sets the log level (info; debug; iotpi_hub=debug). On a permanent failure of its store
    /// (an I/O error, a damaged file) it exits with code 1; at the next start it recovers every acknowledged
    /// reading.
    Serve(Serve),
    /// Creates, lists and revokes tokens. Works while the hub runs: a new token is valid at once, a revoked
    /// one becomes invalid within a second.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Token(Tokens),
    /// Adds, lists and removes users, and replaces forgotten passwords. Works while the hub runs: each change
    /// takes effect within a second.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    User(Users),
    /// Replaces the key with which the hub signs JWTs and URLs. Works while the hub runs, which uses the new
    /// key within a second.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Key(Keys),
    /// Makes a backup of the database and verifies it. Works while the hub runs.
    ///
    /// Prints its path. The backup is one file, a consistent snapshot; it is opened, checked and compared
    /// before it gets its name.
    Backup(Backup),
    /// Replaces the database with a backup. The hub must not run.
    Restore(Restore),
    /// Checks the database and prints a summary of its content. Works while the hub runs; changes nothing.
    Check(Check),
    /// Accesses the database directly.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Db(Db),
    /// Prints the OpenAPI 3.1 description of the HTTP API as JSON.
    Openapi,
    /// Prints an example config file: every setting with its default.
    Config,
}

#[derive(Debug, Args)]
struct Tokens {
    #[command(flatten)]
    paths: HubPaths,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Args)]
struct Keys {
    #[command(flatten)]
    paths: HubPaths,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Args)]
struct Users {
    #[command(flatten)]
    paths: HubPaths,
    #[command(subcommand)]
    command: UserCommand,
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Token(tokens) => token::run(&tokens.paths, tokens.command),
        Command::User(users) => user::run(&users.paths, users.command),
        Command::Key(keys) => key::run(&keys.paths, keys.command),
        Command::Backup(wanted) => backup::run(&wanted),
        Command::Restore(wanted) => restore::run(&wanted),
        Command::Check(wanted) => check::run(&wanted),
        Command::Db(db) => db::run(&db),
        Command::Openapi => {
            println!("{}", iotpi_hub::openapi().trim_end());
            Ok(())
        }
        Command::Config => {
            print!("{}", config::EXAMPLE);
            Ok(())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("iotpi-hub: {error:#}");
            ExitCode::FAILURE
        }
    }
}
