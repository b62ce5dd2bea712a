//! Wire types, device traits, the typed client and the module runner of **iotpi**: Raspberry Pi systems of
//! independent modules and one hub.
#![forbid(unsafe_code)]
#![cfg_attr(all(feature = "client", feature = "log", feature = "schemars"), doc = include_str!("../README.md"))]
#![cfg_attr(feature = "document-features", doc = "\n# Features\n")]
#![cfg_attr(feature = "document-features", doc = document_features::document_features!())]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use async_trait::async_trait;
#[cfg(feature = "schemars")]
pub use schemars;

mod any_error;
mod device;
mod model;
mod time;
mod uplink;

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod durable_file;
#[cfg(feature = "log")]
pub mod log;
#[cfg(feature = "client")]
mod module;
#[cfg(feature = "client")]
mod outage;
#[cfg(feature = "client")]
mod outbox;
#[cfg(feature = "client")]
mod random;
#[cfg(feature = "stop-signal")]
mod signals;
#[cfg(feature = "client")]
pub mod testing;

pub use any_error::AnyError;
pub use device::{Actuator, Camera, DeviceError, DeviceErrorKind, OnChannel, Sensor};
pub use model::{
    camera::{CameraInfo, FrameReceipt, Latency, ViewerInfo, ViewerKind, WatchedCamera},
    channel_filter::ChannelFilter,
    command::{
        Action, Command, CommandOutcome, CommandReport, CommandReportRecord, CommandState,
        DEFAULT_EXPIRES_IN_SECS, LeasedCommand, MAX_ERROR_LEN, NewCommand, StatusReceipt, StatusReport,
    },
    command_id::{CommandId, LeaseId},
    error::{ErrorKind, Problem},
    event::{
        Event, EventKind, LiveMessage, LiveRequest, MAX_LIVE_MESSAGE_BYTES, MAX_RECENT,
        MAX_SUBSCRIPTION_NAMES, MAX_WATCHED_CAMERAS, MAX_WATCHED_FPS, NumberedEvent, Subscription,
        UnknownMessage, WatchRequest,
    },
    frame::{Frame, InvalidFrame, MAX_FRAME_BYTES, MAX_FRAME_SIDE},
    gap::{Delivery, DeliveryAccount, Gap, GapReason, MAX_GAP_SERIES, NewGap, SeriesDelivery, SeriesGap},
    id::{ActionName, Channel, InvalidId, MAX_ID_LEN, ModuleId, SensorType, UserName},
    live_frame::{InvalidLiveFrame, LiveFrame},
    manifest::{
        ActionSpec, CameraSpec, DEFAULT_HEARTBEAT_SECS, Health, MAX_DESCRIPTION_LEN, MAX_MANIFEST_ENTRIES,
        Manifest, Measure, ModuleInfo,
    },
    mixed_replace::{MAX_PART_HEAD_BYTES, MalformedStream, MixedReplace, Part},
    new_reading::{BooleanWithUnit, MAX_AGE_SECS, NewReading, NewReadings, Stored},
    page::{MAX_PAGE_ITEMS, Page},
    protocol::ProtocolVersion,
    reading::{
        Bucket, IncompatibleUnit, MAX_REASON_LEN, MAX_SEQ, Outcome, Quantity, Reading, ReadingRecord, Sample,
        SeqNo, SeriesSpec, TimeSource,
    },
    recording::{
        Clip, FrameSelection, MAX_FRAME_TIMES, MAX_RECORDING_REASON, MAX_RECORDING_TRIGGERS, Recording,
        RecordingMode, RecordingSettings, RecordingTrigger, StartRecording,
    },
    role::Role,
    unit::{InvalidUnit, MAX_UNIT_LEN, Unit},
};
pub use time::{Clock, ManualClock, SystemClock, Timestamp, invalid_timestamp::InvalidTimestamp};
pub use uplink::{Uplink, UplinkError};

#[cfg(feature = "live")]
pub use client::live::{Live, LiveStream};
#[cfg(feature = "tls")]
pub use client::tls::InvalidCertificate;
#[cfg(feature = "client")]
pub use client::{
    BucketWidth, DEFAULT_DEADLINE, HubClient, HubHealth, ReadingFilter,
    backoff::Backoff,
    control::ControlRequest,
    environment::EnvironmentError,
    frame_publisher::{FramePublisher, FrameReceiver, PublisherState},
    http::InvalidUrl,
    mjpeg::FrameStream,
    pages::Pages,
    uplink::HubUplink,
};
#[cfg(feature = "client")]
pub use module::{
    Module, ModuleError,
    actions::{ActionFunction, Actions, NoParams, SafeFunction},
    actuator::ActuatorModule,
    camera::CameraModule,
    camera_function::{CameraFunction, camera},
    composite::CompositeModule,
    measure::{IntoSamples, Measuring, measure, measure_blocking, measure_with},
    recorder::Recorder,
    runner::{RunError, Runner},
    sensor::SensorModule,
};
#[cfg(feature = "client")]
pub use outbox::limits::{DEFAULT_OUTBOX_CAPACITY, OutboxError, OutboxLimits};
#[cfg(feature = "stop-signal")]
pub use signals::stop_signal;

// Compiles the Rust code in the project's documents.
#[cfg(all(doctest, feature = "client", feature = "log", feature = "schemars"))]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/howto/sensor.md")]
    struct AddASensor;
}
