//! The typed client: all requests to a hub, over one pool of reused connections.
//!
//! Deliberately absent: TLS by default (a hub speaks plain HTTP on a trusted network, or is behind a proxy, for
//! which there is a feature), caching, retries of writes (a module's runner retries; a program decides for itself).

pub(crate) mod backoff;
pub(crate) mod control;
pub(crate) mod environment;
pub(crate) mod frame_publisher;
pub(crate) mod http;
mod hub_clock;
#[cfg(feature = "live")]
pub(crate) mod live;
pub(crate) mod mjpeg;
pub(crate) mod pages;
mod push;
mod query;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod uplink;

#[cfg(feature = "live")]
pub use self::live::{Live, LiveStream};
#[cfg(feature = "tls")]
pub use self::tls::InvalidCertificate;
pub use self::{
    backoff::Backoff,
    control::ControlRequest,
    environment::EnvironmentError,
    frame_publisher::{FramePublisher, FrameReceiver, PublisherState},
    http::InvalidUrl,
    mjpeg::FrameStream,
    pages::Pages,
    query::{BucketWidth, ReadingFilter},
    uplink::HubUplink,
};

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use self::http::{Call, Http};
use crate::{
    model::{
        camera::{FrameReceipt, WatchedCamera},
        command::{Command, LeasedCommand, NewCommand, StatusReceipt, StatusReport},
        command_id::CommandId,
        frame::Frame,
        gap::{DeliveryAccount, Gap, NewGap},
        id::{ModuleId, SensorType},
        manifest::{Manifest, ModuleInfo},
        new_reading::{NewReading, Stored},
        page::Page,
        protocol::ProtocolVersion,
        reading::{Bucket, Reading},
    },
    time::{Timestamp, duration},
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

/// The state of a hub.
///
/// ```no_run
/// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
/// let health = hub.health().await?;
/// println!("version {}, up for {:?}", health.version, health.uptime());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct HubHealth {
    /// `ok`, `stopping` or `failing`.
    pub status: String,
    /// The version of the hub.
    pub version: String,
    /// The version of the protocol that the hub uses.
    #[serde(default = "ProtocolVersion::first")]
    pub protocol: ProtocolVersion,
    /// The seconds since it started.
    pub uptime_secs: f64,
}

impl HubHealth {
    /// The time since it started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        duration(self.uptime_secs)
    }
}

impl HubClient {
    /// Creates a client of the hub at `http://HOST[:PORT]`, or at `http://HOST[:PORT]/PREFIX` behind a proxy,
    /// or, with the feature `tls`, at `https://`. Sends
    /// nothing yet.
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

    /// Sets how often a read is repeated after an error that may pass: an unreachable or busy hub, or no answer in
    /// time. Each pause is as long as the hub asks for, plus up to 250 ms at first and 30 s at most. By default no
    /// request is repeated; writes never are.
    ///
    /// ```
    /// # fn example() -> Result<(), iotpi_core::AnyError> {
    /// use iotpi_core::HubClient;
    ///
    /// let hub = HubClient::new("http://127.0.0.1:8000")?.with_retries(3);
    /// # Ok(()) }
    /// # example().unwrap();
    /// ```
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.http.retries = retries;
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
        let health: HubHealth = self.http.json(Call::get("/health")).await?;
        if health.protocol != ProtocolVersion::CURRENT {
            let (hub, this) = (health.protocol, ProtocolVersion::CURRENT);
            tracing::info!(url = self.url(), %hub, %this, "the hub uses another version of the protocol");
        }
        Ok(health)
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

    /// Lost readings, by start time; without `sensor` of all types. They have one order only: `ascending` must be
    /// false.
    pub fn gaps(&self, sensor: Option<&SensorType>, filter: &ReadingFilter) -> Pages<Gap> {
        self.filtered("/api/gaps".to_owned(), filter, |call| call.query("type", sensor))
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
        Pages::new(self.http.clone(), Call::get("/api/sensors").query("module_id", module_id)).all().await
    }

    /// Readings, newest first by default: of all pages with [`Pages::next`], [`Pages::all`] or
    /// [`Pages::into_stream`]; awaited, of one page.
    ///
    /// ```no_run
    /// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
    /// use iotpi_core::ReadingFilter;
    ///
    /// let filter = ReadingFilter::of("attic".parse()?);
    /// let all = hub.readings(&"temperature".parse()?, &filter).all().await?;
    /// # Ok(()) }
    /// ```
    pub fn readings(&self, sensor: &SensorType, filter: &ReadingFilter) -> Pages<Reading> {
        self.filtered(format!("/api/sensors/{sensor}"), filter, |call| call)
    }

    /// Aggregated readings, oldest first; pages as those of [`Self::readings`].
    pub fn buckets(&self, sensor: &SensorType, width: BucketWidth, filter: &ReadingFilter) -> Pages<Bucket> {
        let width = Some(width.as_str());
        self.filtered(format!("/api/sensors/{sensor}"), filter, |call| call.query("bucket", width))
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
        Pages::new(self.http.clone(), Call::get("/api/cameras")).all().await
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
        Pages::new(self.http.clone(), Call::get("/api/modules")).all().await
    }

    /// Returns one module.
    ///
    /// # Errors
    /// [`UplinkError`]; `NotFound`.
    pub async fn module(&self, module_id: &ModuleId) -> Result<ModuleInfo, UplinkError> {
        self.http.json(Call::get(format!("/api/modules/{module_id}"))).await
    }

    /// Sends a command to a module. Awaited, it returns the command when the hub has stored it;
    /// [`wait`](ControlRequest::wait) returns it when it was run, refused or expired.
    ///
    /// ```no_run
    /// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
    /// use iotpi_core::NewCommand;
    /// use serde_json::json;
    ///
    /// let on = NewCommand::new("switch".parse()?).with_params(json!({"on": true}))?;
    /// let command = hub.control(&"hall-lamp".parse()?, &on).wait().await?;
    /// println!("{}: {:?}", command.state.as_str(), command.result);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`UplinkError`]; `Unprocessable` if the module's manifest does not offer the action.
    pub fn control(&self, module_id: &ModuleId, command: &NewCommand) -> ControlRequest {
        ControlRequest::new(self.http.clone(), module_id, command.clone())
    }

    /// Returns the current state of a command.
    ///
    /// # Errors
    /// [`UplinkError`]; `NotFound`.
    pub async fn command(&self, id: &CommandId) -> Result<Command, UplinkError> {
        self.http.json(Call::get(format!("/api/commands/{}", http::percent_encoded(id.as_str())))).await
    }

    /// Cancels a command that is still queued.
    ///
    /// # Errors
    /// [`UplinkError`]; `Conflict` if its module has received it.
    pub async fn cancel(&self, id: &CommandId) -> Result<Command, UplinkError> {
        self.http
            .json(Call::post(format!("/api/commands/{}/cancel", http::percent_encoded(id.as_str()))))
            .await
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
            .extra_time(wait)
            .without_retries();
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

    /// Opens the live connection and subscribes: the current state first, then events. When it returns the hub has
    /// confirmed the subscription, so no event that the program causes afterwards is missed.
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

    /// The pages of a list with this filter; `more` adds parameters.
    fn filtered<T: DeserializeOwned>(
        &self,
        path: String,
        filter: &ReadingFilter,
        more: impl FnOnce(Call) -> Call,
    ) -> Pages<T> {
        let call = Call::get(path)
            .query("module_id", filter.module_id.as_ref())
            .query("channel", filter.channel.as_ref())
            .query("since", filter.since.map(Timestamp::as_secs_f64))
            .query("until", filter.until.map(Timestamp::as_secs_f64))
            .query("order", filter.ascending.then_some("asc"));
        Pages::new(self.http.clone(), more(call)).from(filter.limit, filter.cursor.clone())
    }
}
