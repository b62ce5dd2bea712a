//! A client from the environment variables of its process.

use std::env;

use super::{HubClient, http::InvalidUrl};

/// The address of a hub with default settings on the same machine.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8000";

/// The reasons why the environment does not describe a hub.
///
/// ```
/// use iotpi_core::{HubClient, client::EnvironmentError};
///
/// match HubClient::from_env() {
///     Err(EnvironmentError::NoToken) => println!("a token is needed"),
///     Err(error) => println!("{error}"),
///     Ok(hub) => println!("the hub is at {}", hub.url()),
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// `IOTPI_TOKEN` is not set, is empty, or is not text.
    #[error(
        "the environment variable IOTPI_TOKEN is not set: on the hub's machine, `iotpi-hub token add --role module --module \
         ID` prints a token for a module, and `iotpi-hub token add --role operator NAME` one for another program; then \
         `export IOTPI_TOKEN=...`"
    )]
    NoToken,
    /// `IOTPI_URL` is not the address of a hub.
    #[error("the environment variable IOTPI_URL is invalid")]
    Url(#[from] InvalidUrl),
}

impl HubClient {
    /// Creates a client from the environment: `IOTPI_URL` is the address of the hub, `http://127.0.0.1:8000`
    /// if it is not set, and `IOTPI_TOKEN` the token. Sends nothing yet.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), iotpi_core::AnyError> {
    /// let hub = iotpi_core::HubClient::from_env()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`EnvironmentError`], which names the variable and what to do.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        Self::from_variables(variable("IOTPI_URL"), variable("IOTPI_TOKEN"))
    }

    fn from_variables(url: Option<String>, token: Option<String>) -> Result<Self, EnvironmentError> {
        let hub = Self::new(url.as_deref().unwrap_or(DEFAULT_URL))?;
        Ok(hub.with_token(token.ok_or(EnvironmentError::NoToken)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AnyError;

    #[test]
    fn a_missing_token_names_the_variable_and_the_command() {
        let error = HubClient::from_variables(None, None).unwrap_err();

        let text = format!("{:?}", AnyError::from(error));
        assert!(text.contains("IOTPI_TOKEN") && text.contains("iotpi-hub token add"), "{text}");
    }

    #[test]
    fn an_invalid_address_names_the_variable_and_the_fault() {
        let error = HubClient::from_variables(Some("hub".to_owned()), Some("t".to_owned())).unwrap_err();

        let text = format!("{:?}", AnyError::from(error));
        assert!(text.contains("IOTPI_URL") && text.contains("http://"), "{text}");
    }

    #[test]
    fn the_address_has_a_default() {
        let hub = HubClient::from_variables(None, Some("t".to_owned())).unwrap();

        assert_eq!(hub.url(), DEFAULT_URL);
    }
}
