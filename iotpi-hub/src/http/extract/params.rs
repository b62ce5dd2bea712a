//! Parameters of the path and of the query.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use iotpi_core::{Timestamp, time::InvalidTimestamp};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use super::super::serde_messages;
use crate::{
    Hub,
    error::{HubError, Result},
    store::PageRequest,
};

/// The most items on a page, unless a list says otherwise.
pub(crate) const MAX_PAGE: u32 = 1000;

/// The only parameter of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: FromStr<Err: Display>> FromRequestParts<Hub> for Path<T> {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        let params = RawPathParams::from_request_parts(parts, hub)
            .await
            .map_err(|_| HubError::invalid_argument("The path is not UTF-8."))?;
        let (name, text) =
            params.iter().next().ok_or_else(|| HubError::internal("the path has no parameters"))?;
        text.parse()
            .map(Self)
            .map_err(|error| HubError::invalid_argument(format!("`{name}` in the path: {error}")))
    }
}

/// The query parameters. Unknown parameters are rejected.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Hub> for Query<T> {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        match axum::extract::Query::from_request_parts(parts, hub).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let reason =
                    std::error::Error::source(&rejection).map_or(rejection.to_string(), ToString::to_string);
                Err(HubError::invalid_argument(format!(
                    "The query is invalid: {}",
                    serde_messages::explain_query(&reason)
                )))
            }
        }
    }
}

/// The query parameters of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageParams {
    /// The most items on the page; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the previous page.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

impl PageParams {
    pub(crate) fn request(self) -> Result<PageRequest> {
        page(self.limit, self.cursor)
    }
}

/// The requested page, of up to [`MAX_PAGE`] items.
pub(crate) fn page(limit: Option<u32>, cursor: Option<String>) -> Result<PageRequest> {
    page_with_max(limit, cursor, MAX_PAGE)
}

/// The requested page, of up to `max` items.
pub(crate) fn page_with_max(limit: Option<u32>, cursor: Option<String>, max: u32) -> Result<PageRequest> {
    let limit = limit.unwrap_or(100);
    if !(1..=max).contains(&limit) {
        return Err(HubError::invalid_argument(format!("`limit` must be 1 to {},000", max / 1000)));
    }
    Ok(PageRequest { limit, cursor })
}

/// Parses a time in the query: Unix seconds or RFC 3339.
pub(crate) fn parse_time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let parsed = match text.parse::<f64>() {
        Ok(secs) => Timestamp::from_secs_f64(secs),
        Err(_) => Timestamp::parse(text),
    };
    parsed.map(Some).map_err(|error| wrong_time(&error, name))
}

pub(super) fn wrong_time(error: &InvalidTimestamp, name: &str) -> HubError {
    let detail = format!("`{name}`: {error}");
    if error.is_out_of_range() { HubError::unprocessable(detail) } else { HubError::invalid_argument(detail) }
}

/// A UUID.
#[derive(ToSchema)]
#[schema(value_type = String, format = "uuid")]
pub(crate) struct Uuid(pub(crate) String);

impl FromStr for Uuid {
    type Err = NotAUuid;

    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        // Normalized to the form in the store.
        text.parse::<uuid::Uuid>().map(|id| Self(id.to_string())).map_err(|_| NotAUuid)
    }
}

pub(crate) struct NotAUuid;

impl fmt::Display for NotAUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a UUID")
    }
}
