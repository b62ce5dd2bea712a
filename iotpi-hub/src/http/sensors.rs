//! `/api/sensors`: recording and querying readings.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use iotpi_core::{
    ModuleId, Reading, SensorType, Timestamp,
    model::reading::{Bucket, ChannelFilter, NewReading, NewReadings, ReadingRecord, Stored},
};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    api_router::{ApiRouter, routes},
    export::{self, Format, Row},
    extract::{
        IngestAuth, JsonBytes, MAX_PAGE, Path, Query, check_time, deserialize, page, page_with_max,
        parse_time, value,
    },
    page::Page,
    problem::{PermissionDenied, RateLimited, StorageFull, TooLarge, Unprocessable},
};
use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    ops::readings::{Delivery, MAX_READINGS},
    store::{self, PageRequest, ReadingQuery},
};

/// The most buckets on a page: enough for a chart as wide as a large screen in one response.
const MAX_BUCKETS: u32 = 2000;

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new().routes(routes!(list_series, record_mixed)).routes(routes!(read, record))
}

/// Record readings
///
/// Records one reading, or an array of up to 1,000 readings. The hub stores all readings of a request or
/// none, and responds after the commit is on disk. A reading with a timestamp more than 5 minutes ahead of
/// the hub's clock is stored with its time of arrival. Values in known units are converted to the canonical
/// unit. A value without a unit is rejected if it is impossible in the canonical unit.
#[utoipa::path(
    post, path = "/api/sensors/{type}", tag = "sensors", operation_id = "record",
    params(("type" = SensorType, Path, description = "The sensor type, such as `temperature`")),
    request_body = NewReadings,
    responses((status = 200, description = "The readings are stored", body = Stored), PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull)
)]
async fn record(
    State(hub): State<Hub>,
    IngestAuth(caller): IngestAuth,
    Path(kind): Path<SensorType>,
    JsonBytes(body): JsonBytes,
) -> Result<Json<Stored>> {
    hub.record_delivery(&caller, parse(&body)?, Some(&kind)).await.map(Json)
}

/// Record readings of several types
///
/// Like `POST /api/sensors/{type}`, but each reading contains its `type`.
#[utoipa::path(
    post, path = "/api/sensors", tag = "sensors", operation_id = "record_mixed",
    request_body = NewReadings,
    responses((status = 200, description = "The readings are stored", body = Stored), PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull)
)]
async fn record_mixed(
    State(hub): State<Hub>,
    IngestAuth(caller): IngestAuth,
    JsonBytes(body): JsonBytes,
) -> Result<Json<Stored>> {
    hub.record_delivery(&caller, parse(&body)?, None).await.map(Json)
}

/// Parses one reading or an array. If that fails, each item is parsed again on its own, so that the problem
/// can point to the item.
fn parse(body: &[u8]) -> Result<Delivery> {
    let many = body.trim_ascii_start().starts_with(b"[");
    let at_once = if many {
        serde_json::from_slice::<Vec<ReadingObject>>(body)
    } else {
        serde_json::from_slice::<ReadingObject>(body).map(|one| vec![one])
    };
    match at_once {
        Ok(items) if items.len() <= MAX_READINGS => {
            Ok(Delivery { readings: items.into_iter().map(|ReadingObject(reading)| reading).collect(), many })
        }
        _ => parse_each(value(body)?),
    }
}

/// A reading that must be a JSON object. Serde would also accept an array with the fields in order.
struct ReadingObject(NewReading);

impl<'de> Deserialize<'de> for ReadingObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ReadingObject;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ReadingObject, A::Error> {
                NewReading::deserialize(de::value::MapAccessDeserializer::new(map)).map(ReadingObject)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

fn parse_each(body: Value) -> Result<Delivery> {
    match body {
        Value::Array(items) if items.len() > MAX_READINGS => {
            Err(HubError::too_large(format!("{} readings in one request; the maximum is 1,000", items.len())))
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
    if let Err(error) = check_time(value.get("timestamp")) {
        let from_boot = value["timestamp"].as_f64().is_some_and(|secs| secs < Timestamp::MIN.as_secs_f64());
        let error =
            if from_boot { HubError::unprocessable(format!("{error}; {CLOCKLESS_HINT}")) } else { error };
        return Err(error.at(format!("{base}/timestamp")));
    }
    if value.is_object() && value.get("value").is_none() {
        return Err(HubError::invalid_argument(
            "`value` is missing: send a number, or null for a failed measurement",
        )
        .at(format!("{base}/value")));
    }
    let is_value = matches!(value.get("value"), Some(Value::Bool(_)));
    deserialize(value, base).map_err(|error| match error.pointer() {
        // A boolean with a unit: the error concerns two fields, and points to `value`.
        Some(pointer) if is_value && pointer == base => error.at(format!("{base}/value")),
        _ => error,
    })
}

/// The hint for a device without a clock.
const CLOCKLESS_HINT: &str = "a device without a clock omits `timestamp` (the hub uses the time of \
                              arrival) or sends `age` in seconds";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SeriesParams {
    /// Only series of this module.
    module_id: Option<ModuleId>,
    /// The most items on the page; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the previous page.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// List series
///
/// Returns the newest record of each series, ordered by module, type and channel. Records more than 5 minutes ahead of
/// the hub's clock are ignored.
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
    let newest = hub.newest(query.module_id.as_ref(), &page);
    Ok(Json(hub.inner.admission.query(&caller, newest).await?.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ReadParams {
    /// Only records of this module.
    module_id: Option<ModuleId>,
    /// Only records of this channel; empty: of the default channel. Without it, of all channels.
    #[param(value_type = Option<String>, pattern = "^([a-z0-9][a-z0-9_-]{0,63})?$")]
    channel: Option<ChannelFilter>,
    /// The start of the time range, inclusive: Unix seconds or RFC 3339, years 2000 to 2099.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// The end of the time range, exclusive: Unix seconds or RFC 3339, years 2000 to 2099. Without it, a list
    /// in descending order ends 5 minutes ahead of the hub's clock, and aggregates end with the bucket that
    /// contains that time.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// The most items on the page, up to 1,000 records or 2,000 buckets; the default is 100.
    #[param(minimum = 1, maximum = 2000)]
    limit: Option<u32>,
    /// The `next` of the previous page.
    #[param(max_length = 1000)]
    cursor: Option<String>,
    /// The order by time; the default is `desc`, newest first.
    #[param(inline)]
    order: Option<Order>,
    /// Aggregates the records over UTC-aligned intervals of this width. The items are then buckets.
    #[param(inline)]
    bucket: Option<Width>,
    /// With `bucket`: the aggregates to return, separated by commas; the default is all.
    #[param(pattern = "^(avg|min|max|count)(,(avg|min|max|count)){0,3}$", example = "avg,min,max")]
    agg: Option<String>,
    /// The format of the response. `Accept: text/csv` and `Accept: application/x-ndjson` also select CSV and
    /// JSON lines. In these formats, a request without `limit` and `cursor` streams all matching records.
    #[param(inline)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    Asc,
    Desc,
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
    #[serde(rename = "6h")]
    QuarterDay,
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
            Self::QuarterDay => 21_600,
            Self::Day => 86_400,
        })
    }
}

/// A record, or a bucket of aggregated records if `bucket` was given.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // Only its schema is used: the two kinds never share a page.
enum SensorItem {
    Reading(ReadingRecord),
    Bucket(Bucket),
}

/// Query readings
///
/// Returns the records of a sensor type on all channels, newest first unless `order=asc`. Use `bucket` to aggregate them and
/// `format` to export them as CSV or JSON lines.
#[utoipa::path(
    get, path = "/api/sensors/{type}", tag = "sensors", operation_id = "read",
    params(("type" = SensorType, Path, description = "The sensor type, such as `temperature`"), ReadParams),
    responses(
        (status = 200, description = "A page of records, or of buckets with `bucket`",
         content((Page<SensorItem> = "application/json"), (String = "text/csv"), (String = "application/x-ndjson")),
         headers(("x-next-cursor" = Option<String>, description = "For CSV and JSON lines with `limit` or `cursor`: the cursor of the next page, if there is one"))),
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
    let format = Format::asked(query.format, &headers);
    let all = format != Format::Json && query.limit.is_none() && query.cursor.is_none();
    let max = if query.bucket.is_some() { MAX_BUCKETS } else { MAX_PAGE };
    let page = if all { export::first_step() } else { page_with_max(query.limit, query.cursor, max)? };
    let (since, until) =
        (parse_time("since", query.since.as_deref())?, parse_time("until", query.until.as_deref())?);
    let ascending = query.order == Some(Order::Asc);
    // Neither a full export nor one in ascending order can hide records behind ones in the future.
    let bounded = until.is_none() && !all && (query.bucket.is_some() || !ascending);
    let selection = ReadingQuery {
        sensor,
        module_id: query.module_id,
        channel: query.channel,
        since,
        until,
        not_after: if bounded { hub.latest() } else { None },
        ascending,
    };
    let Some(width) = query.bucket else {
        if query.agg.is_some() {
            return Err(HubError::invalid_argument("`agg` requires `bucket`"));
        }
        let read = move |page: PageRequest| {
            let (hub, caller, selection) = (hub.clone(), caller.clone(), selection.clone());
            async move { hub.inner.admission.query(&caller, hub.readings(&selection, &page)).await }
        };
        return respond(format, all, page, read).await;
    };
    let aggregates = Aggregates::parse(query.agg.as_deref())?;
    let read = move |page: PageRequest| {
        let (hub, caller, selection, aggregates) =
            (hub.clone(), caller.clone(), selection.clone(), aggregates);
        async move {
            let buckets = hub.buckets(&selection, width.duration(), &page);
            let mut buckets = hub.inner.admission.query(&caller, buckets).await?;
            buckets.items.iter_mut().for_each(|bucket| aggregates.keep(bucket));
            Ok(buckets)
        }
    };
    respond(format, all, page, read).await
}

/// Responds with the first page, or streams all pages from there on.
async fn respond<T: Row, F>(
    format: Format,
    all: bool,
    page: PageRequest,
    read: impl Fn(PageRequest) -> F + Send + 'static,
) -> Result<Response>
where
    F: Future<Output = Result<store::Page<T>>> + Send + 'static,
{
    let first = read(page).await?;
    Ok(match (format, all) {
        (Format::Json, _) => Json(Page::from(first)).into_response(),
        (_, false) => export::page(format, first),
        (_, true) => export::everything(format, first, read),
    })
}

/// The aggregates that the request asked for.
#[derive(Clone, Copy)]
struct Aggregates {
    avg: bool,
    min: bool,
    max: bool,
    count: bool,
}

impl Aggregates {
    fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self { avg: true, min: true, max: true, count: true }) };
        let names: Vec<_> = text.split(',').collect();
        if let Some(other) = names.iter().find(|name| !["avg", "min", "max", "count"].contains(name)) {
            return Err(HubError::invalid_argument(format!(
                "`agg` accepts avg, min, max and count, not `{other}`"
            )));
        }
        let asked = |name| names.contains(&name);
        Ok(Self { avg: asked("avg"), min: asked("min"), max: asked("max"), count: asked("count") })
    }

    fn keep(self, bucket: &mut Bucket) {
        bucket.avg = bucket.avg.filter(|_| self.avg);
        bucket.min = bucket.min.filter(|_| self.min);
        bucket.max = bucket.max.filter(|_| self.max);
        bucket.count = bucket.count.filter(|_| self.count);
    }
}
