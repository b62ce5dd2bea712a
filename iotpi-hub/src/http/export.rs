//! Records and aggregates as CSV and as JSON lines: a page, or all there is, streamed page by page in constant memory.

use std::fmt::Write as _;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, header};
use iotpi_core::{Channel, Reading, model::reading::Bucket};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    error::Result,
    store::{Page, PageRequest},
};

/// How many records are read at a time for an export: some 100 KB of text.
const STEP: u32 = 1000;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// A JSON page.
    Json,
    /// RFC 4180; times are Unix seconds, a missing value is empty.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

impl Format {
    /// The one asked for, in the query or else by the `Accept` header.
    pub(super) fn asked(query: Option<Self>, headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        query.unwrap_or_else(|| match accept {
            accept if accept.contains("text/csv") => Self::Csv,
            accept if accept.contains("application/x-ndjson") => Self::Ndjson,
            _ => Self::Json,
        })
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        })
    }
}

/// What can be a line of an export.
pub(super) trait Row: Serialize + Send + 'static {
    /// The first line of a CSV file.
    const HEADER: &str;

    /// Appends the row as a line of CSV.
    fn csv(&self, text: &mut String);
}

impl Row for Reading {
    const HEADER: &str = "module_id,type,channel,value,unit,timestamp,received_at,reason,time_source\r\n";

    fn csv(&self, text: &mut String) {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{},{},{},{},{},{},{},{},{}\r\n",
            self.module_id,
            self.quantity.name_str(),
            self.channel.as_ref().map_or("", Channel::as_str),
            number(self.outcome.value()),
            quoted(self.quantity.unit().as_str()),
            self.taken_at.as_secs_f64(),
            number(self.received_at.map(|t| t.as_secs_f64())),
            quoted(self.outcome.reason().unwrap_or_default()),
            self.time_source.as_str(),
        );
    }
}

impl Row for Bucket {
    const HEADER: &str = "module_id,type,channel,unit,start,avg,min,max,count,missing\r\n";

    fn csv(&self, text: &mut String) {
        let _ = write!(
            text,
            "{},{},{},{},{},{},{},{},{},{}\r\n",
            self.module_id,
            self.kind,
            self.channel.as_ref().map_or("", Channel::as_str),
            quoted(self.unit.as_str()),
            self.start.as_secs_f64(),
            number(self.avg),
            number(self.min),
            number(self.max),
            self.count.map_or_else(String::new, |count| count.to_string()),
            self.missing,
        );
    }
}

/// One page; its next cursor is in the `x-next-cursor` header.
pub(super) fn page<T: Row>(format: Format, page: Page<T>) -> Response {
    let mut text = String::new();
    if format == Format::Csv {
        text.push_str(T::HEADER);
    }
    append(format, &page.items, &mut text);
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    if let Some(next) = page.next.and_then(|cursor| HeaderValue::from_str(&cursor).ok()) {
        headers.insert("x-next-cursor", next);
    }
    response
}

/// Everything from `first` on. A store that fails on the way breaks the answer off: its end cannot be mistaken for the
/// end of the list.
pub(super) fn everything<T: Row, F>(
    format: Format,
    first: Page<T>,
    next: impl Fn(PageRequest) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Result<Page<T>>> + Send + 'static,
{
    let header = if format == Format::Csv { T::HEADER } else { "" };
    let pages = stream::try_unfold((Some(Ok(first)), header), move |(state, header)| {
        let page = state.map(|state: std::result::Result<Page<T>, String>| match state {
            Ok(page) => Ok(page),
            Err(cursor) => Err(next(PageRequest { limit: STEP, cursor: Some(cursor) })),
        });
        async move {
            let page = match page {
                None => return Ok(None),
                Some(Ok(page)) => page,
                Some(Err(next)) => next.await.map_err(std::io::Error::other)?,
            };
            let mut text = header.to_owned();
            append(format, &page.items, &mut text);
            Ok::<_, std::io::Error>(Some((Bytes::from(text), (page.next.map(Err), ""))))
        }
    });
    let mut response = Body::from_stream(pages.boxed()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, format.content_type());
    response
}

/// The first page of an export of everything.
pub(super) fn first_step() -> PageRequest {
    PageRequest { limit: STEP, cursor: None }
}

fn append<T: Row>(format: Format, rows: &[T], text: &mut String) {
    for row in rows {
        match format {
            Format::Csv => row.csv(text),
            // Wire types have string keys and finite numbers: serialising them cannot fail.
            Format::Json | Format::Ndjson => {
                text.push_str(&serde_json::to_string(row).unwrap_or_default());
                text.push('\n');
            }
        }
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A text as a cell of CSV. One that a spreadsheet would run as a formula begins with an apostrophe, which makes it a text there
/// (OWASP, "CSV Injection").
fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { &format!("'{text}") } else { text };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_commas_quotes_or_lines_is_quoted_and_a_formula_is_a_text() {
        for (text, csv) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("a\nb", "\"a\nb\""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1,A2)", "\"'@SUM(A1,A2)\""),
            ("-5 V", "'-5 V"),
            ("+5 V", "'+5 V"),
            ("\t=1", "'\t=1"),
        ] {
            assert_eq!(quoted(text), csv);
        }
    }
}
