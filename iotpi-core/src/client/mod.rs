//! The typed client: all requests to a hub, over one pool of reused connections.
//!
//! Deliberately absent: TLS (a hub speaks plain HTTP on a trusted network, or is behind a proxy), caching,
//! retries (a module's runner retries; a program decides for itself).

pub(crate) mod backoff;
pub(crate) mod frame_publisher;
pub(crate) mod http;
mod hub_clock;
#[cfg(feature = "live")]
pub(crate) mod live;
pub(crate) mod mjpeg;
mod push;
pub(crate) mod uplink;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use self::http::{Call, Http};
#[cfg(feature = "live")]
use self::live::LiveStream;
use self::{http::InvalidUrl, mjpeg::FrameStream, uplink::HubUplink};
use crate::{
    client::frame_publisher::FrameReceiver,
    model::{
        camera::{FrameReceipt, WatchedCamera},
        command::{Command, CommandId, LeasedCommand, NewCommand, StatusReceipt, StatusReport},
        frame::Frame,
        gap::{DeliveryAccount, Gap, NewGap},
        id::{ModuleId, SensorType},
        manifest::{Manifest, ModuleInfo},
        new_reading::{NewReading, Stored},
        page::Page,
        reading::{Bucket, Reading},
    },
    time::Timestamp,
    uplink::UplinkError,
};

/// The default time limit of a request, from the first byte sent to the last one read.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);

/// A client of one hub. Cloning shares its connections.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use iotpi_core::HubClient;
///
/// let hub = HubClient::new("http://127.0.0.1:8000")?.with_token("iotpi_...");
/// for reading in hub.newest(None).await? {
///     println!("{}: {:?}", reading.module_id, reading.outcome);
/// }
/// # Ok(()) }
/// ```
///
/// # Cancel safety
/// Every method may be cancelled; it is then unknown whether the request reached the hub.
#[derive(Debug, Clone)]
pub struct HubClient {
    http: Http,
}

/// A query for readings of one type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadingFilter {
    /// Only readings of this module.
    pub module_id: Option<ModuleId>,
    /// The earliest time, inclusive.
    pub since: Option<Timestamp>,
    /// The latest time, exclusive.
    pub until: Option<Timestamp>,
    /// The maximum number, 1 to 1,000; 100 by default.
    pub limit: Option<u32>,
    /// The [`Page::next`] of the previous page.
    pub cursor: Option<String>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

/// The width of a bucket of [`HubClient::buckets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketWidth {
    /// One minute.
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// Fifteen minutes.
    QuarterHour,
    /// One hour.
    Hour,
    /// Six hours.
    QuarterDay,
    /// One day.
    Day,
}

impl BucketWidth {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::QuarterDay => "6h",
            Self::Day => "1d",
        }
    }
}

/// The state of a hub.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HubHealth {
    /// `ok`, `stopping` or `failing`.
    pub status: String,
    /// The version of the hub.
    pub version: String,
    /// The seconds since it started.
    pub uptime_secs: f64,
}

impl HubClient {
    /// Creates a client of the hub at `http://HOST[:PORT]`. Sends nothing yet.
    ///
    /// # Errors
    /// [`InvalidUrl`] if it is not such a URL.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self { http: Http::new(url)? })
    }

    /// Sets the token: an API token, a module token or a JWT.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.http.set_token(token.into());
        self
    }

    /// Sets the time limit of each request; [`DEFAULT_DEADLINE`] by default.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.http.deadline = deadline;
        self
    }

    /// The address of the hub.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.http.url
    }

    /// The uplink of a module to this hub.
    #[must_use]
    pub fn uplink(&self, module_id: ModuleId) -> HubUplink {
        HubUplink::new(self.clone(), module_id)
    }

    /// Returns the state of the hub.
    ///
    /// # Errors
    /// [`UplinkError`]; `Unavailable` if it is stopping.
    pub async fn health(&self) -> Result<HubHealth, UplinkError> {
        self.http.json(Call::get("/health")).await
    }

    /// Delivers up to 1,000 readings of any types and modules that the token allows: all or none are stored
    /// when it returns.
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` with a pointer to the first invalid reading.
    pub async fn record(&self, readings: &[Reading]) -> Result<Stored, UplinkError> {
        let readings: Vec<_> = readings.iter().cloned().map(NewReading::from).collect();
        self.deliver(&readings).await
    }

    /// Delivers up to 1,000 readings with optional fields, each with its type: all or none are stored when it
    /// returns.
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` with a pointer to the first invalid reading.
    pub async fn deliver(&self, readings: &[NewReading]) -> Result<Stored, UplinkError> {
        self.http.json(Call::post("/api/sensors").json(&readings)).await
    }

    /// Reports numbered readings of a module as lost.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn report_gap(&self, module_id: &ModuleId, gap: &NewGap) -> Result<(), UplinkError> {
        let call = Call::post(format!("/api/modules/{module_id}/gaps")).json(gap);
        self.http.bytes(call).await.map(|_| ())
    }

    /// Returns one page of lost readings, by start time; without `sensor` of all types. They have one order
    /// only: `ascending` must be false.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn gaps(
        &self,
        sensor: Option<&SensorType>,
        filter: &ReadingFilter,
    ) -> Result<Page<Gap>, UplinkError> {
        self.http.json(filtered("/api/gaps".to_owned(), filter).query("type", sensor)).await
    }

    /// Returns the delivery account of a module's numbered readings.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn delivery(&self, module_id: &ModuleId) -> Result<DeliveryAccount, UplinkError> {
        self.http.json(Call::get(format!("/api/modules/{module_id}/delivery"))).await
    }

    /// Delivers one reading, without a unit or a time if the hub shall fill them in.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn record_new(
        &self,
        sensor: &SensorType,
        readings: &[NewReading],
    ) -> Result<Stored, UplinkError> {
        self.http.json(Call::post(format!("/api/sensors/{sensor}")).json(&readings)).await
    }

    /// Returns the newest reading of every series, all pages.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn newest(&self, module_id: Option<&ModuleId>) -> Result<Vec<Reading>, UplinkError> {
        self.all_pages(|| Call::get("/api/sensors").query("module_id", module_id)).await
    }

    /// Returns one page of readings, newest first by default.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn readings(
        &self,
        sensor: &SensorType,
        filter: &ReadingFilter,
    ) -> Result<Page<Reading>, UplinkError> {
        self.http.json(filtered(records(sensor), filter)).await
    }

    /// Returns one page of aggregated readings, oldest first.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn buckets(
        &self,
        sensor: &SensorType,
        width: BucketWidth,
        filter: &ReadingFilter,
    ) -> Result<Page<Bucket>, UplinkError> {
        self.http.json(filtered(records(sensor), filter).query("bucket", Some(width.as_str()))).await
    }

    /// Publishes one frame of a module's camera. For many frames use [`stream_frames`](Self::stream_frames).
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` if the hub does not accept it as a JPEG.
    pub async fn publish(&self, module_id: &ModuleId, frame: &Frame) -> Result<FrameReceipt, UplinkError> {
        let call = Call::post("/api/camera/frame").query("module_id", Some(module_id));
        let call = push::stamps(frame).fold(call, |call, (name, value)| match name {
            // The parameter that older hubs use.
            "x-timestamp" => call.query("timestamp", Some(value)),
            name => call.header(name, value),
        });
        self.http.json(call.jpeg(frame.jpeg().clone())).await
    }

    /// Streams frames on one connection: sends the newest one whenever it can take it, with its number and
    /// the offset between the clocks. Connects when there is a first frame, and returns when the publisher
    /// was dropped. An older hub without this route gets each frame in a separate request.
    ///
    /// # Errors
    /// [`UplinkError`] if the connection broke or the hub ended it. A refused frame is not an error: it is
    /// counted, and the stream continues.
    ///
    /// # Cancel safety
    /// Cancel safe; a frame being sent is cut off.
    pub async fn stream_frames(
        &self,
        module_id: &ModuleId,
        frames: &mut FrameReceiver,
    ) -> Result<(), UplinkError> {
        if let push::PushEnd::NoSuchRoute = push::push(self, module_id, frames).await? {
            frames.mark_unsent();
            while let Some(frame) = frames.next().await {
                frames.record(self.publish(module_id, &frame).await)?;
            }
        }
        Ok(())
    }

    /// Returns the hub's clock.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn time(&self) -> Result<Timestamp, UplinkError> {
        #[derive(Deserialize)]
        struct HubTime {
            hub_time: Timestamp,
        }
        Ok(self.http.json::<HubTime>(Call::get("/api/time")).await?.hub_time)
    }

    /// Returns the newest frame of a camera; without a module, of the only camera.
    ///
    /// # Errors
    /// [`UplinkError`]; `NotFound` if there is none.
    pub async fn snapshot(&self, module_id: Option<&ModuleId>) -> Result<Bytes, UplinkError> {
        self.http.bytes(Call::get("/api/camera/snapshot").query("module_id", module_id)).await
    }

    /// Streams the frames of a camera.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn frames(&self, module_id: Option<&ModuleId>) -> Result<FrameStream, UplinkError> {
        let body = self.http.stream(Call::get("/api/camera/stream").query("module_id", module_id)).await?;
        Ok(FrameStream::new(body, self.url().to_owned()))
    }

    /// Returns the cameras and their viewers.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn cameras(&self) -> Result<Vec<WatchedCamera>, UplinkError> {
        self.all_pages(|| Call::get("/api/cameras")).await
    }

    /// Registers a module.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn register(
        &self,
        module_id: &ModuleId,
        manifest: &Manifest,
    ) -> Result<ModuleInfo, UplinkError> {
        self.http.json(Call::put(format!("/api/modules/{module_id}")).json(manifest)).await
    }

    /// Returns all modules.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn modules(&self) -> Result<Vec<ModuleInfo>, UplinkError> {
        self.all_pages(|| Call::get("/api/modules")).await
    }

    /// Returns one module.
    ///
    /// # Errors
    /// [`UplinkError`]; `NotFound`.
    pub async fn module(&self, module_id: &ModuleId) -> Result<ModuleInfo, UplinkError> {
        self.http.json(Call::get(format!("/api/modules/{module_id}"))).await
    }

    /// Sends a command to a module. Returns when the hub has stored it, not when it was run.
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` if the module's manifest does not offer the action.
    pub async fn control(&self, module_id: &ModuleId, command: &NewCommand) -> Result<Command, UplinkError> {
        self.http.json(Call::post(format!("/api/modules/{module_id}/control")).json(command)).await
    }

    /// Sends a command with an idempotency key of 1 to 64 visible ASCII characters: a repeated request with
    /// the same key, after a lost answer, returns the first command. The key is kept as long as the command,
    /// at least until that has ended.
    ///
    /// # Errors
    /// As [`Self::control`]; `InvalidArgument` if the key is invalid, `Conflict` if it belongs to a different
    /// request.
    pub async fn control_once(
        &self,
        module_id: &ModuleId,
        command: &NewCommand,
        key: &str,
    ) -> Result<Command, UplinkError> {
        let call = Call::post(format!("/api/modules/{module_id}/control")).json(command).once(key);
        self.http.json(call).await
    }

    /// Returns the current state of a command.
    ///
    /// # Errors
    /// [`UplinkError`]; `NotFound`.
    pub async fn command(&self, id: &CommandId) -> Result<Command, UplinkError> {
        self.http.json(Call::get(format!("/api/commands/{}", http::segment(id)))).await
    }

    /// Cancels a command that is still queued.
    ///
    /// # Errors
    /// [`UplinkError`]; `Conflict` if its module has received it.
    pub async fn cancel(&self, id: &CommandId) -> Result<Command, UplinkError> {
        self.http.json(Call::post(format!("/api/commands/{}/cancel", http::segment(id)))).await
    }

    /// Claims up to `limit` (1 to 16) commands for a module, waiting up to `wait` (at most 60 s) for one.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn claim(
        &self,
        module_id: &ModuleId,
        wait: Duration,
        limit: u32,
    ) -> Result<Vec<LeasedCommand>, UplinkError> {
        let call = Call::get(format!("/api/modules/{module_id}/commands"))
            .query("wait", Some(wait.as_secs_f64()))
            .query("limit", Some(limit))
            .extra_time(wait);
        Ok(self.http.json::<Page<LeasedCommand>>(call).await?.items)
    }

    /// Reports the outcome of a command, the state of a module, or a heartbeat.
    ///
    /// # Errors
    /// [`UplinkError`]; `Conflict` if the lease of the command has ended.
    pub async fn report(
        &self,
        module_id: &ModuleId,
        report: &StatusReport,
    ) -> Result<StatusReceipt, UplinkError> {
        self.http.json(Call::post(format!("/api/modules/{module_id}/status")).json(report)).await
    }

    /// Exchanges the client's token for a JWT of some minutes.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn jwt(&self) -> Result<String, UplinkError> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
        }
        let granted: Granted = self.http.json(Call::post("/api/auth/jwt").json(&json!({}))).await?;
        Ok(granted.access_token)
    }

    /// Opens the live connection: the current state first, then events.
    ///
    /// # Errors
    /// [`UplinkError`].
    #[cfg(feature = "live")]
    pub async fn live(
        &self,
        subscription: &crate::model::event::Subscription,
    ) -> Result<LiveStream, UplinkError> {
        LiveStream::open(&self.http, subscription).await
    }

    async fn all_pages<T: serde::de::DeserializeOwned>(
        &self,
        call: impl Fn() -> Call,
    ) -> Result<Vec<T>, UplinkError> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let call = call()
                .query("limit", Some(crate::model::page::MAX_PAGE_ITEMS))
                .query("cursor", cursor.as_ref());
            let page: Page<T> = self.http.json(call).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(all),
            }
        }
    }
}

/// The path of the readings of a type.
fn records(sensor: &SensorType) -> String {
    format!("/api/sensors/{sensor}")
}

fn filtered(path: String, filter: &ReadingFilter) -> Call {
    Call::get(path)
        .query("module_id", filter.module_id.as_ref())
        .query("since", filter.since.map(Timestamp::as_secs_f64))
        .query("until", filter.until.map(Timestamp::as_secs_f64))
        .query("limit", filter.limit)
        .query("cursor", filter.cursor.as_ref())
        .query("order", filter.ascending.then_some("asc"))
}
