//! `/api/sensors`: readings in and out.

use std::{fmt::Write as _, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use iotpi_core::{Bucket, ModuleId, NewReading, NewReadings, Reading, ReadingRecord, SensorType, Stored};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{Deliverer, JsonBody, Path, Query, check_years, moment, page, read_as},
    page::Page,
    problem::{PermissionDenied, RateLimited, StorageFull, TooLarge, Unprocessable},
};
use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    ops::readings::{Delivery, MAX_READINGS},
    store::ReadingQuery,
};

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().routes(routes!(list_series, record_mixed)).routes(routes!(read, record))
}

/// Record readings
///
/// One reading, or an array of up to 1,000 that is stored whole or not at all. Answers after the commit is on disk.
#[utoipa::path(
    post, path = "/api/sensors/{type}", tag = "sensors", operation_id = "record",
    params(("type" = SensorType, Path, description = "What was measured")),
    request_body = NewReadings,
    responses((status = 200, description = "Stored", body = Stored), PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull)
)]
async fn record(
    State(hub): State<Hub>,
    Deliverer(caller): Deliverer,
    Path(kind): Path<SensorType>,
    JsonBody(body): JsonBody,
) -> Result<Json<Stored>> {
    hub.record_delivery(&caller, delivery(body)?, Some(&kind)).await.map(Json)
}

/// Record readings of several types
///
/// As `POST /api/sensors/{type}`, but each reading says its `type`.
#[utoipa::path(
    post, path = "/api/sensors", tag = "sensors", operation_id = "record_mixed",
    request_body = NewReadings,
    responses((status = 200, description = "Stored", body = Stored), PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull)
)]
async fn record_mixed(
    State(hub): State<Hub>,
    Deliverer(caller): Deliverer,
    JsonBody(body): JsonBody,
) -> Result<Json<Stored>> {
    hub.record_delivery(&caller, delivery(body)?, None).await.map(Json)
}

/// Reads one reading or an array, item by item, so that a problem names the item.
fn delivery(body: Value) -> Result<Delivery> {
    match body {
        Value::Array(items) if items.len() > MAX_READINGS => {
            Err(HubError::too_large(format!("{} readings in one request; 1,000 may be", items.len())))
        }
        Value::Array(items) => {
            let readings = items
                .into_iter()
                .enumerate()
                .map(|(i, item)| reading(item, &format!("/{i}")))
                .collect::<Result<_>>()?;
            Ok(Delivery { readings, many: true })
        }
        one => Ok(Delivery { readings: vec![reading(one, "")?], many: false }),
    }
}

fn reading(value: Value, base: &str) -> Result<NewReading> {
    check_years(value.get("timestamp")).map_err(|error| error.at(format!("{base}/timestamp")))?;
    if value.is_object() && value.get("value").is_none() {
        return Err(HubError::invalid_argument(
            "`value` is missing: a number, or null for a failed measurement",
        )
        .at(format!("{base}/value")));
    }
    read_as(value, base)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SeriesParams {
    /// Only this module's series.
    module_id: Option<ModuleId>,
    /// How many a page holds; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The last page's `next`.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// Every series as its newest record
///
/// By module, then type.
#[utoipa::path(
    get, path = "/api/sensors", tag = "sensors", operation_id = "list_series",
    params(SeriesParams),
    responses((status = 200, description = "The newest record of each series", body = Page<ReadingRecord>), PermissionDenied)
)]
async fn list_series(
    State(hub): State<Hub>,
    caller: Caller,
    Query(query): Query<SeriesParams>,
) -> Result<Json<Page<Reading>>> {
    caller.may_read_of(query.module_id.as_ref())?;
    let page = page(query.limit, query.cursor)?;
    Ok(Json(hub.store().newest(query.module_id.as_ref(), &page).await?.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ReadParams {
    /// Only this module's records.
    module_id: Option<ModuleId>,
    /// From this moment on, inclusive: Unix seconds or RFC 3339, years 2000 to 2099.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// Up to this moment, exclusive: Unix seconds or RFC 3339, years 2000 to 2099.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// How many a page holds; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The last page's `next`.
    #[param(max_length = 1000)]
    cursor: Option<String>,
    /// By time; `desc` (newest first) when left out.
    #[param(inline)]
    order: Option<Order>,
    /// Sum up over stretches of this width, UTC-aligned; the items are then buckets.
    #[param(inline)]
    bucket: Option<Width>,
    /// With `bucket`: which aggregates, separated by commas; all when left out.
    #[param(pattern = "^(avg|min|max|count)(,(avg|min|max|count)){0,3}$", example = "avg,min,max")]
    agg: Option<String>,
    /// The same page as CSV; as does `Accept: text/csv`.
    #[param(inline)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    Asc,
    Desc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
enum Width {
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "15m")]
    QuarterHour,
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "1d")]
    Day,
}

impl Width {
    fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::QuarterHour => 900,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }
}

/// A record, or with `bucket` an aggregate of records.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // Only its schema is used: the two kinds never share a page.
enum SensorItem {
    Reading(ReadingRecord),
    Bucket(Bucket),
}

/// Records of a sensor type
///
/// Newest first unless `order=asc`; with `bucket` summed up; as CSV with `format=csv`.
#[utoipa::path(
    get, path = "/api/sensors/{type}", tag = "sensors", operation_id = "read",
    params(("type" = SensorType, Path, description = "What was measured"), ReadParams),
    responses(
        (status = 200, description = "Records, or with `bucket` aggregates",
         content((Page<SensorItem> = "application/json"), (String = "text/csv")),
         headers(("x-next-cursor" = Option<String>, description = "With CSV: the next page's cursor, if there is one"))),
        PermissionDenied, Unprocessable
    )
)]
async fn read(
    State(hub): State<Hub>,
    caller: Caller,
    Path(sensor): Path<SensorType>,
    Query(query): Query<ReadParams>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.may_read_of(query.module_id.as_ref())?;
    let csv = match query.format {
        Some(format) => format == Format::Csv,
        None => {
            headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|a| a.contains("text/csv"))
        }
    };
    let page = page(query.limit, query.cursor)?;
    let wanted = ReadingQuery {
        sensor,
        module_id: query.module_id,
        since: moment("since", query.since.as_deref())?,
        until: moment("until", query.until.as_deref())?,
        ascending: query.order == Some(Order::Asc),
    };
    let Some(width) = query.bucket else {
        if query.agg.is_some() {
            return Err(HubError::invalid_argument("`agg` needs a `bucket`"));
        }
        let records = hub.store().readings(&wanted, &page).await?;
        return Ok(if csv {
            as_csv(readings_csv(&records.items), records.next)
        } else {
            Json(Page::from(records)).into_response()
        });
    };
    let aggregates = Aggregates::parse(query.agg.as_deref())?;
    let mut buckets = hub.store().buckets(&wanted, width.duration(), &page).await?;
    buckets.items.iter_mut().for_each(|bucket| aggregates.keep(bucket));
    Ok(if csv {
        as_csv(buckets_csv(&buckets.items), buckets.next)
    } else {
        Json(Page::from(buckets)).into_response()
    })
}

/// Which aggregates were asked for.
struct Aggregates<'a>(Option<Vec<&'a str>>);

impl<'a> Aggregates<'a> {
    fn parse(text: Option<&'a str>) -> Result<Self> {
        let names: Option<Vec<_>> = text.map(|text| text.split(',').collect());
        match names.iter().flatten().find(|name| !["avg", "min", "max", "count"].contains(*name)) {
            Some(other) => {
                Err(HubError::invalid_argument(format!("`agg` knows avg, min, max and count, not `{other}`")))
            }
            None => Ok(Self(names)),
        }
    }

    fn keep(&self, bucket: &mut Bucket) {
        let Some(names) = &self.0 else { return };
        bucket.avg = bucket.avg.filter(|_| names.contains(&"avg"));
        bucket.min = bucket.min.filter(|_| names.contains(&"min"));
        bucket.max = bucket.max.filter(|_| names.contains(&"max"));
        bucket.count = bucket.count.filter(|_| names.contains(&"count"));
    }
}

fn as_csv(text: String, next: Option<String>) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    if let Some(next) = next.and_then(|cursor| HeaderValue::from_str(&cursor).ok()) {
        headers.insert("x-next-cursor", next);
    }
    response
}

/// RFC 4180; times are Unix seconds, a missing value is empty.
fn readings_csv(readings: &[Reading]) -> String {
    let mut csv = "module_id,type,value,unit,timestamp,received_at,reason\r\n".to_owned();
    for reading in readings {
        // Writing to a string cannot fail.
        let _ = write!(
            csv,
            "{},{},{},{},{},{},{}\r\n",
            reading.module_id,
            reading.quantity.name(),
            number(reading.outcome.value()),
            quoted(reading.quantity.unit().as_str()),
            reading.taken_at.as_secs_f64(),
            number(reading.received_at.map(|t| t.as_secs_f64())),
            quoted(reading.outcome.reason().unwrap_or_default()),
        );
    }
    csv
}

fn buckets_csv(buckets: &[Bucket]) -> String {
    let mut csv = "module_id,type,unit,start,avg,min,max,count,missing\r\n".to_owned();
    for bucket in buckets {
        let _ = write!(
            csv,
            "{},{},{},{},{},{},{},{},{}\r\n",
            bucket.module_id,
            bucket.kind,
            quoted(bucket.unit.as_str()),
            bucket.start.as_secs_f64(),
            number(bucket.avg),
            number(bucket.min),
            number(bucket.max),
            bucket.count.map_or_else(String::new, |count| count.to_string()),
            bucket.missing,
        );
    }
    csv
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn quoted(text: &str) -> String {
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
    fn a_field_with_commas_quotes_or_lines_is_quoted() {
        for (text, csv) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(quoted(text), csv);
        }
    }
}
