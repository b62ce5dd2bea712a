//! Users, sessions, tokens and other credentials.

mod credentials;
mod ended_sessions;
pub mod required_credentials;
mod users_and_tokens;
