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
    backup::Backup, check::Check, config::Place, db::Db, key::KeyCommand, restore::Restore, serve::Serve,
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
    /// Runs the hub until SIGHUP (the terminal is closed), Ctrl-C, SIGQUIT or SIGTERM. Started with SIGHUP ignored
    /// (`nohup`), it goes on without its terminal.
    ///
    /// Prints `iotpi-hub listening on http://ADDR:PORT` once it listens and, while there is no user, before that the
    /// one-time code with which the browser makes the first admin. Logs go to standard error; RUST_LOG sets what is
    /// logged (info; debug; iotpi_hub=debug). When its store fails for good (an I/O error, a damaged file) it ends with
    /// exit code 1: started again, it recovers what it acknowledged.
    Serve(Serve),
    /// Makes, lists and revokes tokens. Works while the hub runs: a new token counts at once, a revoked one ends within a second.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Token(Tokens),
    /// Adds, lists and removes the people who log in, and replaces forgotten passwords. Works while the hub runs, which
    /// honours each change within a second.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    User(Users),
    /// Replaces the key with which the hub signs JWTs and URLs. Works while the hub runs, which uses the new one within a second.
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Key(Keys),
    /// Makes a backup of the database and verifies it. Works while the hub runs.
    ///
    /// Prints its path. It is one file, whole as it was at one moment; opened, checked and compared before it gets its name.
    Backup(Backup),
    /// Puts a backup in the database's place. The hub must not run.
    Restore(Restore),
    /// Looks through the database and says what is in it and whether it is sound. Works while the hub runs; changes nothing.
    Check(Check),
    /// The database by hand.
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
    place: Place,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Args)]
struct Keys {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Args)]
struct Users {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: UserCommand,
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Token(tokens) => token::run(&tokens.place, tokens.command),
        Command::User(users) => user::run(&users.place, users.command),
        Command::Key(keys) => key::run(&keys.place, keys.command),
        Command::Backup(wanted) => backup::run(&wanted),
        Command::Restore(wanted) => restore::run(&wanted),
        Command::Check(wanted) => check::run(&wanted),
        Command::Db(db) => db::run(&db),
        Command::Openapi => {
            println!("{}", iotpi_hub::http::openapi().trim_end());
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
