//! Extractors: the caller, path, query and body of a request, each checked.

mod body;
mod credentials;
mod json;
mod params;

pub(crate) use body::{read, too_slow};
pub(crate) use credentials::{IngestAuth, OptionalCredential};
pub(crate) use json::{JsonBody, JsonBytes, check_time, deserialize, value};
pub(crate) use params::{MAX_PAGE, PageParams, Path, Query, Uuid, page, page_with_max, parse_time};
