//! The typed client: everything a program may ask of a hub, over one pool of reused connections.
//!
//! Deliberately absent: TLS (a hub speaks plain HTTP on a trusted network, or sits behind a proxy), caching, retries
//! (a module's runner retries; a program decides for itself).

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

/// How long a request may take, from the first byte sent to the last one read.
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
/// Every method may be cancelled; the request may then have reached the hub or not.
#[derive(Debug, Clone)]
pub struct HubClient {
    http: Http,
}

/// Which records of a sensor type to read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadingFilter {
    /// Only this module's.
    pub module_id: Option<ModuleId>,
    /// From this moment on, inclusive.
    pub since: Option<Timestamp>,
    /// Up to this moment, exclusive.
    pub until: Option<Timestamp>,
    /// At most so many, 1 to 1,000; the hub's default is 100.
    pub limit: Option<u32>,
    /// The last page's [`Page::next`].
    pub cursor: Option<String>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

/// How wide the stretches of [`HubClient::buckets`] are.
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
    /// The wire word.
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

/// A hub's answer to "how are you".
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HubHealth {
    /// `ok`, `stopping` or `failing`.
    pub status: String,
    /// The hub's version.
    pub version: String,
    /// Seconds since it started.
    pub uptime_secs: f64,
}

impl HubClient {
    /// A client of the hub at `http://HOST[:PORT]`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`InvalidUrl`] when it is not such a URL.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self { http: Http::new(url)? })
    }

    /// The same client, showing a token: an API token, a module token or a JWT.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.http.set_token(token.into());
        self
    }

    /// The same client with another deadline for each request; the default is [`DEFAULT_DEADLINE`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.http.deadline = deadline;
        self
    }

    /// The hub's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.http.url
    }

    /// A module's line to this hub.
    #[must_use]
    pub fn uplink(&self, module_id: ModuleId) -> HubUplink {
        HubUplink::new(self.clone(), module_id)
    }

    /// How the hub is.
    ///
    /// # Errors
    /// [`UplinkError`]; `Unavailable` when it is stopping.
    pub async fn health(&self) -> Result<HubHealth, UplinkError> {
        self.http.json(Call::get("/health")).await
    }

    /// Delivers readings, of any types and modules the token may speak for: stored when it returns, all or none. At most 1,000.
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` with a pointer to the first reading that cannot be.
    pub async fn record(&self, readings: &[Reading]) -> Result<Stored, UplinkError> {
        let readings: Vec<_> = readings.iter().cloned().map(NewReading::from).collect();
        self.deliver(&readings).await
    }

    /// Delivers readings as anybody may send them, each with its type: stored when it returns, all or none. At most 1,000.
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` with a pointer to the first reading that cannot be.
    pub async fn deliver(&self, readings: &[NewReading]) -> Result<Stored, UplinkError> {
        self.http.json(Call::post("/api/sensors").json(&readings)).await
    }

    /// Says that numbered readings of a module will never come.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn report_gap(&self, module_id: &ModuleId, gap: &NewGap) -> Result<(), UplinkError> {
        let call = Call::post(format!("/api/modules/{module_id}/gaps")).json(gap);
        self.http.bytes(call).await.map(|_| ())
    }

    /// One page of readings that will never arrive, by the moment they begin; of all types without `sensor`. They know one
    /// order only: `ascending` stays false.
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

    /// How many of a module's numbered readings arrived.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn delivery(&self, module_id: &ModuleId) -> Result<DeliveryAccount, UplinkError> {
        self.http.json(Call::get(format!("/api/modules/{module_id}/delivery"))).await
    }

    /// Delivers one reading as anybody may send it: unit and time may be left to the hub.
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

    /// Every series as its newest record, all pages.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn newest(&self, module_id: Option<&ModuleId>) -> Result<Vec<Reading>, UplinkError> {
        self.all_pages(|| Call::get("/api/sensors").query("module_id", module_id)).await
    }

    /// One page of records, newest first unless asked otherwise.
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

    /// One page of records summed up, oldest first.
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

    /// Shows one picture of a module's camera. For many, [`push`](Self::push).
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` when the hub does not take it for a picture.
    pub async fn publish(&self, module_id: &ModuleId, frame: &Frame) -> Result<FrameReceipt, UplinkError> {
        let call = Call::post("/api/camera/frame").query("module_id", Some(module_id));
        let call = push::stamps(frame).fold(call, |call, (name, value)| match name {
            // Where older hubs look for it.
            "x-timestamp" => call.query("timestamp", Some(value)),
            name => call.header(name, value),
        });
        self.http.json(call.jpeg(frame.jpeg().clone())).await
    }

    /// Shows a film on one line: each time it can take one, the newest picture, with its number and with how far the hub's
    /// clock is ahead. Opens the line when there is a first picture, and returns when the film is over. An older hub that has
    /// no such route gets each picture in a request of its own.
    ///
    /// # Errors
    /// [`UplinkError`] when the line broke or the hub ended it. A picture that was refused is no error: it is counted, and
    /// the film goes on.
    ///
    /// # Cancel safety
    /// Cancel safe; a picture under way is cut off.
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

    /// What the hub's clock shows.
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

    /// The newest picture of a camera; without a module, of the only camera.
    ///
    /// # Errors
    /// [`UplinkError`]; `NotFound` while there is none.
    pub async fn snapshot(&self, module_id: Option<&ModuleId>) -> Result<Bytes, UplinkError> {
        self.http.bytes(Call::get("/api/camera/snapshot").query("module_id", module_id)).await
    }

    /// A camera's pictures as they come.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn frames(&self, module_id: Option<&ModuleId>) -> Result<FrameStream, UplinkError> {
        let body = self.http.stream(Call::get("/api/camera/stream").query("module_id", module_id)).await?;
        Ok(FrameStream::new(body, self.url().to_owned()))
    }

    /// The cameras, and who watches them.
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

    /// Every module.
    ///
    /// # Errors
    /// [`UplinkError`].
    pub async fn modules(&self) -> Result<Vec<ModuleInfo>, UplinkError> {
        self.all_pages(|| Call::get("/api/modules")).await
    }

    /// One module.
    ///
    /// # Errors
    /// [`UplinkError`]; `NotFound`.
    pub async fn module(&self, module_id: &ModuleId) -> Result<ModuleInfo, UplinkError> {
        self.http.json(Call::get(format!("/api/modules/{module_id}"))).await
    }

    /// Asks a module to do something. Returns when the command is stored, not when it is done.
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` when the module's manifest does not offer it.
    pub async fn control(&self, module_id: &ModuleId, command: &NewCommand) -> Result<Command, UplinkError> {
        self.http.json(Call::post(format!("/api/modules/{module_id}/control")).json(command)).await
    }

    /// The same under a key of the caller's choice, 1 to 64 visible ASCII characters: asked again with it, when nobody
    /// knows whether the first request arrived, the hub answers with the first command. The key is kept as long as the
    /// command, at least while it is not ended.
    ///
    /// # Errors
    /// As [`Self::control`]; `InvalidArgument` when it is no key, `Conflict` when it was another request's.
    pub async fn control_once(
        &self,
        module_id: &ModuleId,
        command: &NewCommand,
        key: &str,
    ) -> Result<Command, UplinkError> {
        let call = Call::post(format!("/api/modules/{module_id}/control")).json(command).once(key);
        self.http.json(call).await
    }

    /// One command's life so far.
    ///
    /// # Errors
    /// [`UplinkError`]; `NotFound`.
    pub async fn command(&self, id: &CommandId) -> Result<Command, UplinkError> {
        self.http.json(Call::get(format!("/api/commands/{}", http::segment(id)))).await
    }

    /// Takes back a command that is still queued.
    ///
    /// # Errors
    /// [`UplinkError`]; `Conflict` when its module has it already.
    pub async fn cancel(&self, id: &CommandId) -> Result<Command, UplinkError> {
        self.http.json(Call::post(format!("/api/commands/{}/cancel", http::segment(id)))).await
    }

    /// Takes up to `limit` (1 to 16) commands for a module, waiting up to `wait` (at most 60 s) for one.
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

    /// Says for a module how a command ended, what its state is, or that it is there.
    ///
    /// # Errors
    /// [`UplinkError`]; `Conflict` when the command's lease is over.
    pub async fn report(
        &self,
        module_id: &ModuleId,
        report: &StatusReport,
    ) -> Result<StatusReceipt, UplinkError> {
        self.http.json(Call::post(format!("/api/modules/{module_id}/status")).json(report)).await
    }

    /// Exchanges the client's token for a JWT that lives some minutes.
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

    /// Opens the live line: the present first, then what happens.
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

/// Where the records of a sensor type are.
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
