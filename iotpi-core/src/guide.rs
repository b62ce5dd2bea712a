//! From an empty folder to a module with a sensor, an actuator and a camera, and to a program that reports what it
//! measured.
//!
//! # The project
//!
//! ```sh
//! cargo new greenhouse && cd greenhouse
//! cargo add iotpi-core --path ../iotpi/iotpi-core --features log,schemars
//! cargo add tokio --features macros,rt-multi-thread
//! cargo add serde --features derive
//! cargo add schemars serde_json
//! ```
//!
//! A hub for the development runs on the same computer: `make demo` in the checkout of iotpi starts one with
//! simulated modules, and `iotpi-hub token add --role module --module greenhouse` prints the token that the
//! programs below read from `IOTPI_TOKEN`.
//!
//! # A sensor
//!
//! [`measure`](crate::measure()) makes a sensor of a closure, which may own its device. A
//! [`SensorModule`](crate::SensorModule) reads it periodically, and a [`Runner`](crate::Runner) connects the module
//! with the hub until the program is stopped.
//!
//! ```no_run
//! use std::time::Duration;
//! use iotpi_core::{AnyError, HubClient, Quantity, Runner, SensorModule, measure};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), AnyError> {
//!     iotpi_core::log::init();
//!     let hub = HubClient::from_env()?;
//!     let air = measure([Quantity::Temperature, Quantity::Humidity], async || {
//!         Ok([Some(21.5), None]) // A quantity without a value is recorded as missing.
//!     });
//!     let module = SensorModule::new(air, Duration::from_secs(10));
//!     Runner::new(hub.uplink("greenhouse".parse()?)).run(module).await?;
//!     Ok(())
//! }
//! ```
//!
//! A driver that others use, too, implements [`Sensor`](crate::Sensor) instead; `iotpi-hal` has drivers of chips
//! and a test suite for your own.
//!
//! # An actuator with typed parameters
//!
//! [`Actions`](crate::Actions) combines a device and a function for each action. The parameters are a type: its JSON
//! Schema is registered with the hub, which checks commands against it, and the dashboard makes a form of it. The
//! function of the safe state is called when the module ends, and when the issuer of a
//! [`while_alive`](crate::ActionSpec::while_alive) action is absent.
//!
//! ```
//! use std::time::Duration;
//! use iotpi_core::{ActionSpec, Actions, ActuatorModule, AnyError, Module};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//!
//! /// Opens the window.
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Open {
//!     /// The opening in per cent.
//!     #[schemars(range(max = 100))]
//!     percent: u8,
//! }
//!
//! struct Window {
//!     percent: u8, // your motor
//! }
//!
//! fn window() -> Result<ActuatorModule<Actions<Window>>, AnyError> {
//!     let open = ActionSpec::named("open")?.absolute().while_alive(Duration::from_secs(300));
//!     let window = Actions::new(Window { percent: 0 })
//!         .action(open, async |window: &mut Window, open: Open| {
//!             window.percent = open.percent;
//!             Ok(())
//!         })
//!         .make_safe(async |window: &mut Window| {
//!             window.percent = 0;
//!             Ok(())
//!         })
//!         .state(|window| json!({"percent": window.percent}));
//!     Ok(ActuatorModule::new(window))
//! }
//!
//! assert_eq!(window()?.manifest().actions[0].name.as_str(), "open");
//! # Ok::<(), AnyError>(())
//! ```
//!
//! # A camera, and all of it in one module
//!
//! [`camera`](crate::camera()) makes a camera of a closure that returns one JPEG image. A
//! [`CompositeModule`](crate::CompositeModule) runs several parts under one id.
//!
//! ```
//! use std::time::Duration;
//! use iotpi_core::{CameraModule, CameraSpec, CompositeModule, Module, Quantity, SensorModule, camera, measure};
//!
//! let air = SensorModule::new(measure(Quantity::Temperature, async || Ok(21.5)), Duration::from_secs(10));
//! let beds = camera(CameraSpec::new(640, 480, 5.0), async || {
//!     Ok(tokio::fs::read("/run/camera/newest.jpg").await?)
//! });
//! let module = CompositeModule::new().with(air).with(CameraModule::new(beds));
//! assert!(module.manifest().camera.is_some());
//! ```
//!
//! # A test without a hub
//!
//! [`RecordingUplink`](crate::testing::RecordingUplink) takes the place of the hub in the tests of a module.
//!
//! ```
//! use std::time::Duration;
//! use iotpi_core::{Quantity, Runner, SensorModule, measure, testing::RecordingUplink};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), iotpi_core::AnyError> {
//! let hub = RecordingUplink::new("greenhouse".parse()?);
//! let sensor = measure(Quantity::Temperature, async || Ok(21.5));
//! Runner::new(hub.clone()).once(SensorModule::new(sensor, Duration::from_secs(10))).await?;
//! assert_eq!(hub.readings()[0].outcome.value(), Some(21.5));
//! # Ok(()) }
//! ```
//!
//! # A report, and a command
//!
//! Any program may read from a hub and send commands. Its token is that of an operator:
//! `iotpi-hub token add --role operator`.
//!
//! ```no_run
//! use std::time::Duration;
//! use iotpi_core::{AnyError, Clock, HubClient, NewCommand, ReadingFilter, SystemClock, client::BucketWidth};
//! use serde_json::json;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), AnyError> {
//!     let hub = HubClient::from_env()?.with_retries(3);
//!     let day_ago = SystemClock::new().now().minus(Duration::from_secs(86_400));
//!     let filter = ReadingFilter::of("greenhouse".parse()?).since(day_ago);
//!     let mut hours = hub.buckets(&"temperature".parse()?, BucketWidth::Hour, &filter);
//!     while let Some(hour) = hours.next().await? {
//!         println!("{}: {:?} to {:?}, {} missing", hour.start, hour.min, hour.max, hour.missing);
//!     }
//!
//!     let open = NewCommand::new("open".parse()?).with_params(json!({"percent": 40}))?;
//!     let done = hub.control(&"greenhouse".parse()?, &open).wait().await?;
//!     println!("{}: {:?}", done.state, done.error);
//!     Ok(())
//! }
//! ```
//!
//! # Where to go on
//!
//! [`module`](crate::module) for modules of your own making, [`client`](crate::client) for all requests,
//! [`event`](crate::model::event) for events, [`outbox`](crate::outbox) for readings that survive a restart.
