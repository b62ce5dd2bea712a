//! The client: one method for each request, each answering with a [`Pending`].

use std::{
    process,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use iotpi_core::{
    ActionName, Clock, HubClient, ModuleId, NewCommand, SensorType, SystemClock, Unit,
    model::{
        command::{CommandId, IdempotencyKey},
        event::Subscription,
        reading::NewReading,
    },
};
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::{
    arguments::{bucket_width, each, event_kind, filter, finite, frame, id, moment, reading, seconds},
    failure::{Failure, invalid},
    frame_publisher::FramePublisher,
    pages::{Pages, Query},
    pending::{Answer, Pending},
    stream::{Source, Stream},
};

/// The first and the longest pause between two looks at a command that is under way.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const SLOWEST_LOOK: Duration = Duration::from_millis(500);

/// A client of one hub.
#[pyclass(module = "iotpi._iotpi", frozen)]
pub struct Hub {
    url: String,
    /// `None` after it was closed.
    client: Mutex<Option<HubClient>>,
    /// The process it was made in: its connections do not survive a fork.
    process: u32,
}

impl Hub {
    pub fn client(&self) -> PyResult<HubClient> {
        if self.process != process::id() {
            return Err(PyRuntimeError::new_err(
                "this client was made before the process forked; make one in the child process",
            ));
        }
        let client = self.lock().clone();
        client.ok_or_else(|| PyValueError::new_err("this client is closed"))
    }

    fn lock(&self) -> MutexGuard<'_, Option<HubClient>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<F, T>(&self, question: impl FnOnce(HubClient) -> F) -> PyResult<Pending>
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
        T: Serialize,
    {
        let answer = question(self.client()?);
        Ok(Pending::new(async move { Answer::json(&answer.await?) }))
    }
}

#[pymethods]
impl Hub {
    #[new]
    fn new(url: &str, token: Option<String>, timeout: f64) -> PyResult<Self> {
        let mut client = HubClient::new(url).map_err(invalid)?.with_deadline(seconds("timeout", timeout)?);
        if let Some(token) = token {
            client = client.with_token(token);
        }
        let url = client.url().to_owned();
        Ok(Self { url, client: Mutex::new(Some(client)), process: process::id() })
    }

    #[getter]
    fn url(&self) -> &str {
        &self.url
    }

    /// Closes the idle connections; requests in progress still end. Later ones are refused.
    fn close(&self) -> Pending {
        let client = self.lock().take();
        Pending::new(async move {
            drop(client);
            Ok(Answer::Nothing)
        })
    }

    fn health(&self) -> PyResult<Pending> {
        self.ask(async |hub| {
            let health = hub.health().await?;
            let (status, version) = (health.status, health.version);
            let (protocol, uptime_secs) = (health.protocol, health.uptime_secs);
            Ok(json!({"status": status, "version": version, "protocol": protocol, "uptime_secs": uptime_secs}))
        })
    }

    fn newest(&self, module: Option<&str>) -> PyResult<Pending> {
        let module = module.map(id::<ModuleId>).transpose()?;
        self.ask(async move |hub| Ok(hub.newest(module.as_ref()).await?))
    }

    #[expect(clippy::too_many_arguments, reason = "called in one place")]
    fn readings(
        &self,
        sensor: &str,
        module: Option<&str>,
        channel: Option<&str>,
        since: Option<f64>,
        until: Option<f64>,
        limit: Option<u64>,
        ascending: bool,
    ) -> PyResult<Pages> {
        let mut filter = filter(module, channel, since, until)?;
        filter.ascending = ascending;
        Ok(Pages::new(self.client()?, Query::Readings(id(sensor)?), filter, limit)?)
    }

    #[expect(clippy::too_many_arguments, reason = "called in one place")]
    fn buckets(
        &self,
        sensor: &str,
        width: &str,
        module: Option<&str>,
        channel: Option<&str>,
        since: Option<f64>,
        until: Option<f64>,
        limit: Option<u64>,
    ) -> PyResult<Pages> {
        let query = Query::Buckets(id(sensor)?, bucket_width(width)?);
        Ok(Pages::new(self.client()?, query, filter(module, channel, since, until)?, limit)?)
    }

    #[expect(clippy::too_many_arguments, reason = "called in one place")]
    fn record(
        &self,
        sensor: &str,
        module: &str,
        channel: Option<&str>,
        value: Option<f64>,
        unit: Option<&str>,
        timestamp: Option<f64>,
        reason: Option<String>,
        epoch: Option<u64>,
        seq: Option<u64>,
        age: Option<f64>,
    ) -> PyResult<Pending> {
        let sensor: SensorType = id(sensor)?;
        let mut reading = NewReading::new(id(module)?, finite(value)?);
        reading.channel = channel.map(id).transpose()?;
        reading.unit = unit.map(Unit::parse).transpose().map_err(invalid)?;
        reading.timestamp = timestamp.map(moment).transpose()?;
        (reading.epoch, reading.seq) = (epoch, seq);
        reading.age = finite(age)?;
        reading.reason = reason;
        self.ask(async move |hub| Ok(hub.record_new(&sensor, &[reading]).await?))
    }

    /// Readings as a JSON array; each says its type, unit and time.
    fn record_many(&self, readings: &str) -> PyResult<Pending> {
        let readings = serde_json::from_str::<Vec<Value>>(readings).map_err(invalid)?;
        let readings: Vec<NewReading> = readings
            .into_iter()
            .enumerate()
            .map(|(index, value)| reading(value).map_err(|failure| failure.at(format!("/{index}"))))
            .collect::<Result<_, _>>()?;
        self.ask(async move |hub| Ok(hub.deliver(&readings).await?))
    }

    fn gaps(
        &self,
        module: Option<&str>,
        sensor: Option<&str>,
        channel: Option<&str>,
        since: Option<f64>,
        until: Option<f64>,
        limit: Option<u64>,
    ) -> PyResult<Pages> {
        let query = Query::Gaps(sensor.map(id).transpose()?);
        Ok(Pages::new(self.client()?, query, filter(module, channel, since, until)?, limit)?)
    }

    fn delivery(&self, module: &str) -> PyResult<Pending> {
        let module: ModuleId = id(module)?;
        self.ask(async move |hub| Ok(hub.delivery(&module).await?))
    }

    fn cameras(&self) -> PyResult<Pending> {
        self.ask(async |hub| Ok(hub.cameras().await?))
    }

    fn snapshot(&self, module: Option<&str>) -> PyResult<Pending> {
        let (hub, module) = (self.client()?, module.map(id::<ModuleId>).transpose()?);
        Ok(Pending::new(async move { Ok(Answer::Bytes(hub.snapshot(module.as_ref()).await?)) }))
    }

    fn publish(
        &self,
        module: &str,
        jpeg: &[u8],
        timestamp: Option<f64>,
        sequence: Option<u64>,
    ) -> PyResult<Pending> {
        let module: ModuleId = id(module)?;
        let taken_at = timestamp.map(moment).transpose()?.unwrap_or_else(|| SystemClock::new().now());
        let mut frame = frame(Bytes::copy_from_slice(jpeg), taken_at)?;
        if let Some(sequence) = sequence {
            frame = frame.numbered(sequence);
        }
        self.ask(async move |hub| Ok(hub.publish(&module, &frame).await?))
    }

    fn stream_frames(&self, module: &str) -> PyResult<FramePublisher> {
        FramePublisher::start(self.client()?.uplink(id(module)?))
    }

    fn frames(&self, module: Option<&str>) -> PyResult<Pending> {
        let (hub, module) = (self.client()?, module.map(id::<ModuleId>).transpose()?);
        Ok(Pending::new(async move {
            let frames = hub.frames(module.as_ref()).await?;
            Ok(Answer::Stream(Stream::new(Source::Frames(Box::new(frames)))))
        }))
    }

    fn modules(&self) -> PyResult<Pending> {
        self.ask(async |hub| Ok(hub.modules().await?))
    }

    fn module(&self, module: &str) -> PyResult<Pending> {
        let module: ModuleId = id(module)?;
        self.ask(async move |hub| Ok(hub.module(&module).await?))
    }

    /// `params` is a JSON object.
    fn control(
        &self,
        module: &str,
        action: &str,
        params: &str,
        expires_in: Option<f64>,
        key: Option<String>,
    ) -> PyResult<Pending> {
        let module: ModuleId = id(module)?;
        let params: Map<String, Value> = serde_json::from_str(params).map_err(invalid)?;
        let mut command = NewCommand::new(id::<ActionName>(action)?);
        command.params = params;
        command.expires_in = finite(expires_in)?;
        let key = key.map(|key| id::<IdempotencyKey>(&key)).transpose()?;
        self.ask(async move |hub| {
            Ok(match key {
                Some(key) => hub.control(&module, &command).once(key).await?,
                None => hub.control(&module, &command).await?,
            })
        })
    }

    fn command(&self, command: String) -> PyResult<Pending> {
        self.ask(async move |hub| Ok(hub.command(&command.into()).await?))
    }

    fn cancel(&self, command: String) -> PyResult<Pending> {
        self.ask(async move |hub| Ok(hub.cancel(&command.into()).await?))
    }

    /// Looks at a command until it is in a final state.
    fn settled(&self, command: String, timeout: f64) -> PyResult<Pending> {
        let timeout = seconds("timeout", timeout)?;
        let command = CommandId::from(command);
        self.ask(async move |hub| {
            let give_up = Instant::now() + timeout;
            let mut pause = FIRST_LOOK;
            loop {
                let now = hub.command(&command).await?;
                if now.is_finished() {
                    return Ok(now);
                }
                let left = give_up.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    let (state, secs) = (now.state.as_str(), timeout.as_secs_f64());
                    return Err(Failure::timeout(format!("the command is still {state} after {secs} s")));
                }
                tokio::time::sleep(pause.min(left)).await;
                pause = (pause * 2).min(SLOWEST_LOOK);
            }
        })
    }

    fn live(
        &self,
        kinds: Option<Vec<String>>,
        modules: Option<Vec<String>>,
        sensors: Option<Vec<String>>,
        recent: u32,
    ) -> PyResult<Pending> {
        let mut subscription = Subscription::new().with_recent(recent);
        subscription.kinds = kinds.map(|kinds| each(kinds, event_kind)).transpose()?;
        subscription.modules = modules.map(|ids| each(ids, |text| id(&text))).transpose()?;
        subscription.sensors = sensors.map(|ids| each(ids, |text| id(&text))).transpose()?;
        let hub = self.client()?;
        Ok(Pending::new(async move {
            let live = hub.live(&subscription).await?;
            Ok(Answer::Stream(Stream::new(Source::Live(Box::new(live)))))
        }))
    }
}
