//! The contract of the catalog: the test opens every entry as a simulated device, uses it, and turns faults
//! on and off.
#![cfg(all(feature = "sim", feature = "camera"))]
#![allow(clippy::unwrap_used)]

use std::{fs, ops::RangeInclusive, path::Path, sync::Arc, time::Duration};

use iotpi_core::{
    Action, ActionName, Actuator, CameraSpec, DeviceErrorKind, Quantity, Runner, Sensor, SensorModule,
    Timestamp, testing::RecordingUplink, time::ManualClock,
};
use iotpi_hal::{
    bus::Bus,
    camera::testcard::TestCard,
    catalog::{self, CatalogEntry, Device, OpenError, Setup},
    drivers::led::Led,
    sim::{Fault, SimPin, Weather, World},
    testing::{SensorContract, check_actuator, check_camera},
};
use serde_json::{Value, json};

/// A world at noon, its clock, and a temporary folder.
struct TestWorld {
    clock: Arc<ManualClock>,
    world: Arc<World>,
    setup: Setup,
    folder: tempfile::TempDir,
}

impl TestWorld {
    fn new() -> Self {
        let noon = Timestamp::parse("2026-06-01T12:00:00Z").unwrap();
        let clock = ManualClock::at(noon);
        let world = World::new(7, clock.clone());
        let setup = Setup::in_world(world.clone());
        let folder = tempfile::tempdir().unwrap();
        let spec = CameraSpec::new(160, 120, 1.0);
        let mut card = TestCard::new(spec, clock.clone()).unwrap();
        for name in ["1.jpg", "2.jpg"] {
            fs::write(folder.path().join(name), card.paint(noon).unwrap().jpeg()).unwrap();
        }
        Self { clock, world, setup, folder }
    }

    fn open(&self, entry: &CatalogEntry) -> Device {
        let mut settings: Value = toml::from_str(entry.example).unwrap();
        if let Some(path) = settings.get_mut("path") {
            *path = json!(self.folder.path());
        }
        entry.open(settings, &self.setup).unwrap()
    }
}

/// The expected result of a driver for a fault: an error kind, or `None` for a reading that cannot be
/// distinguished from a good one.
fn expected_error(driver: &str, fault: Fault) -> Option<DeviceErrorKind> {
    use DeviceErrorKind::{Bus, Checksum, NotFound, OutOfRange, Timeout};

    match (driver, fault) {
        // The second input has another configuration.
        ("ads1115", Fault::Stuck) => Some(NotFound),
        ("bme680", Fault::AllOnes | Fault::Hung) => Some(Timeout),
        // The chip has no checksum.
        ("bme680", Fault::Corrupt) => None,
        ("hx711", Fault::Unplugged | Fault::AllOnes | Fault::Hung) => Some(Timeout),
        ("hx711", Fault::Corrupt) => None,
        // Without an echo nothing is known.
        ("hcsr04", fault) if !matches!(fault, Fault::Nack | Fault::BusLow) => Some(Timeout),
        // It does not keep its prescaler.
        ("pca9685", Fault::Stuck | Fault::AllOnes | Fault::Corrupt) => Some(NotFound),
        ("pca9685", Fault::Hung) => None,
        (_, Fault::Stuck) => None,
        // An output has no file that its fault changes but the one it writes.
        ("leds" | "pwm", _) => Some(Bus),
        ("iio" | "hwmon" | "w1" | "thermal" | "power_supply" | "input", Fault::Unplugged) => Some(NotFound),
        // The kernel has no event then.
        ("input", _) => None,
        // The driver in the kernel detects them.
        ("iio" | "hwmon" | "thermal" | "power_supply", _) => Some(Bus),
        ("led" | "relay" | "servo" | "motion" | "button" | "contact" | "counter", Fault::Unplugged) => None,
        (_, Fault::Unplugged) => Some(NotFound),
        (_, Fault::Nack | Fault::BusLow) => Some(Bus),
        // The status register reads as busy.
        ("bme280" | "bmp280", Fault::AllOnes | Fault::Hung) => Some(Timeout),
        // The chip has no checksum.
        ("bme280" | "bmp280", Fault::Corrupt) => None,
        ("ds18b20" | "w1", Fault::Corrupt | Fault::AllOnes) => Some(Checksum),
        // The value after power-on.
        ("ds18b20" | "w1", Fault::Hung) => Some(OutOfRange),
        // The chips with checksums do not acknowledge a read before the measurement has ended.
        ("sht3x" | "sht4x" | "scd4x", Fault::Hung) => Some(NotFound),
        ("aht20", Fault::Hung | Fault::AllOnes) => Some(Timeout),
        ("sht3x" | "sht4x" | "scd4x" | "aht20", Fault::Corrupt | Fault::AllOnes) => Some(Checksum),
        // The chips with an id, or a register that keeps what was written.
        ("mcp9808" | "ina219" | "ads1115", Fault::Corrupt | Fault::AllOnes) => Some(NotFound),
        ("ina219" | "ads1115", Fault::Hung) => Some(Timeout),
        ("mcp9808" | "bh1750", Fault::Hung) => None,
        ("bh1750", Fault::Corrupt) => None,
        ("bh1750", Fault::AllOnes) => Some(OutOfRange),
        // A pin cannot report these faults.
        (
            "led" | "relay" | "servo" | "motion" | "button" | "contact" | "counter",
            Fault::AllOnes | Fault::Corrupt | Fault::Hung,
        ) => None,
        (driver, fault) => panic!("no expectation for `{driver}` with {fault:?}"),
    }
}

/// An action that takes an actuator out of its safe state.
fn unsafe_action(driver: &str) -> (&'static str, Value) {
    match driver {
        "relay" => ("set", json!({"relay": "down", "on": true})),
        "servo" => ("move", json!({"angle": 45})),
        "pca9685" => ("set", json!({"output": "strip", "duty": 40})),
        _ => ("set", json!({"brightness": 40})),
    }
}

/// The state of an actuator after that action and `make_safe`.
fn safe_state(driver: &str) -> Value {
    match driver {
        "relay" => json!({"up": false, "down": false}),
        "servo" => json!({"angle": null}),
        "pca9685" => json!({"fan": 0.0, "strip": 0.0}),
        _ => json!({"on": false, "brightness": 40}),
    }
}

/// All faults with a predictable result.
fn faults() -> impl Iterator<Item = Fault> {
    Fault::ALL.into_iter().filter(|fault| *fault != Fault::Noise)
}

async fn values(sensor: &mut dyn Sensor) -> Result<Vec<f64>, DeviceErrorKind> {
    let samples = sensor.read().await.map_err(|e| e.kind())?;
    assert_eq!(samples.iter().map(|s| s.quantity.clone()).collect::<Vec<_>>(), sensor.quantities());
    samples.iter().map(|s| s.outcome.value().ok_or(DeviceErrorKind::OutOfRange)).collect()
}

async fn perform(actuator: &mut dyn Actuator, name: &str, params: Value) -> Result<Value, DeviceErrorKind> {
    let action = Action::new(ActionName::new(name).unwrap(), params.as_object().unwrap().clone());
    actuator.perform(&action).await.map_err(|e| e.kind())
}

#[tokio::test(start_paused = true)]
async fn every_entry_opens_and_offers_the_listed_quantities_and_actions() {
    let test = TestWorld::new();

    for entry in catalog::entries() {
        let offered: Vec<String> = match test.open(entry) {
            Device::Sensor(mut sensor) => {
                values(&mut *sensor).await.unwrap();
                sensor.quantities().iter().map(|q| q.name().to_string()).collect()
            }
            Device::Actuator(actuator) => actuator.actions().iter().map(|a| a.name.to_string()).collect(),
            Device::Camera(mut camera) => {
                check_camera(&mut *camera).await;
                Vec::new()
            }
            other => panic!("no expectation for {other:?}"),
        };

        // Several thermometers of a bus are several series of one quantity.
        let mut offered = offered;
        offered.dedup();
        // A machine may provide fewer quantities than the list; every other device provides all of them.
        let listed =
            entry.offers.iter().filter(|o| entry.name != "system" || offered.iter().any(|n| n == *o));
        assert!(offered.iter().eq(listed), "{}: {offered:?}", entry.name);
        assert!(entry.name == "system" || entry.offers.len() == offered.len());
    }
}

/// The entries with a simulated device below the driver. The simulated device of a camera is the test card,
/// which has no faults.
fn simulated() -> impl Iterator<Item = &'static CatalogEntry> {
    let has_sim =
        |entry: &&CatalogEntry| entry.buses.contains(&Bus::Sim) && !["rpicam", "v4l"].contains(&entry.name);
    catalog::entries().filter(has_sim)
}

/// The range of a quantity in the simulated world, with the resolution of the coarsest chip.
fn expected_range(driver: &str, quantity: &Quantity, weather: &Weather) -> RangeInclusive<f64> {
    let around = |value: f64, tolerance: f64| value - tolerance..=value + tolerance;
    match quantity {
        // The battery of the simulated kernel.
        Quantity::Voltage if driver == "power_supply" => around(3.9, 1e-9),
        Quantity::Current if driver == "power_supply" => around(-0.25, 1e-9),
        // The analogue input is behind a divider.
        Quantity::Voltage if driver == "ads1115" => around(weather.voltage / 2.0, 0.001),
        Quantity::Temperature => around(weather.temperature, 0.0325),
        Quantity::Humidity => around(weather.humidity, 0.05),
        Quantity::Pressure => around(weather.pressure, 5.0),
        Quantity::Motion => 0.0..=1.0,
        Quantity::Illuminance => around(weather.illuminance, 0.5),
        Quantity::Distance => around(weather.distance, 0.001),
        Quantity::Co2 => around(weather.co2, 1.0),
        Quantity::Voltage => around(weather.voltage, 0.003),
        Quantity::Current => around(weather.current, 0.001),
        Quantity::Custom { name, .. } => match name.as_str() {
            "pressed" | "open" => 0.0..=1.0,
            "energy" => 0.0..=1e6,
            "battery-level" => around(80.0, 1e-9),
            "charging" => 0.0..=0.0,
            "gas-resistance" => around(weather.gas_resistance, 500.0),
            "mass" => around(weather.mass, 0.0001),
            "soil-moisture" => around(weather.humidity, 1.0),
            other => panic!("no expectation for `{other}`"),
        },
        Quantity::Power => 0.0..=1e6,
        other => panic!("no expectation for {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_sensor_fulfils_the_contract() {
    let test = TestWorld::new();

    for entry in simulated() {
        let Device::Sensor(mut sensor) = test.open(entry) else { continue };
        let weather = test.world.weather();
        let series = sensor.series().into_iter();
        let expected = series.map(|one| (one.clone(), expected_range(entry.name, &one.quantity, &weather)));
        let detected = faults().filter(|fault| expected_error(entry.name, *fault).is_some());

        SensorContract::new(expected)
            .detecting(detected)
            .check(&mut *sensor, &test.world.faults(entry.name))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_kind_of_an_error_follows_from_the_fault() {
    let test = TestWorld::new();

    for entry in simulated() {
        let switch = test.world.faults(entry.name);
        for fault in faults() {
            let during = match test.open(entry) {
                Device::Sensor(mut sensor) => {
                    let before = values(&mut *sensor).await.unwrap();
                    test.clock.advance(Duration::from_secs(3600));
                    switch.begin(fault);
                    let during = values(&mut *sensor).await;
                    let is_pin = ["motion", "button", "contact"].contains(&entry.name);
                    if fault == Fault::Stuck && expected_error(entry.name, fault).is_none() && !is_pin {
                        assert_eq!(during.as_ref(), Ok(&before), "{}", entry.name);
                    }
                    during.map(|_| ())
                }
                Device::Actuator(mut actuator) => {
                    switch.begin(fault);
                    let (action, params) = unsafe_action(entry.name);
                    perform(&mut *actuator, action, params).await.map(|_| ())
                }
                other => panic!("no expectation for {other:?}"),
            };
            switch.end();

            assert_eq!(during.err(), expected_error(entry.name, fault), "{} {fault:?}", entry.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_module_records_values_in_spite_of_a_failed_transfer() {
    let test = TestWorld::new();

    for name in [
        "bme280", "bmp280", "ds18b20", "ads1115", "aht20", "bh1750", "ina219", "mcp9808", "scd4x", "sht3x",
        "sht4x",
    ] {
        let switch = test.world.faults(name);
        let open = || match test.open(catalog::find(name).unwrap()) {
            Device::Sensor(sensor) => sensor,
            other => panic!("{name} is {other:?}"),
        };
        let before = switch.transfers();
        values(&mut *open()).await.unwrap();

        for transfer in 0..switch.transfers() - before {
            let hub = RecordingUplink::new("attic".parse().unwrap());
            switch.once(Fault::Nack, transfer);
            let module = SensorModule::new(open(), Duration::from_secs(1));
            Runner::new(hub.clone()).once(module).await.unwrap();
            switch.end();

            let readings = hub.readings();
            let failed = readings.iter().find(|reading| reading.outcome.value().is_none());
            assert!(failed.is_none() && !readings.is_empty(), "{name}, transfer {transfer}: {failed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_actuator_can_be_made_safe_twice() {
    let test = TestWorld::new();

    for entry in catalog::entries().filter(|entry| entry.buses.contains(&Bus::Sim)) {
        let Device::Actuator(mut actuator) = test.open(entry) else { continue };
        let (action, params) = unsafe_action(entry.name);
        perform(&mut *actuator, action, params).await.unwrap();

        actuator.make_safe().await.unwrap();
        actuator.make_safe().await.unwrap();

        assert_eq!(Value::Object(actuator.state()), safe_state(entry.name), "{}", entry.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lamp_fulfils_the_contract_of_actuators() {
    let pin = SimPin::new();
    let mut lamp = Led::new(pin.clone());

    check_actuator(&mut lamp, pin.faults(), "set", json!({"on": true}), || pin.duty() == 0).await;
}

#[tokio::test]
async fn simulated_devices_of_one_world_read_the_same_weather() {
    let test = TestWorld::new();
    let temperature = async |driver: &str| {
        let Device::Sensor(mut sensor) = test.open(catalog::find(driver).unwrap()) else {
            panic!("{driver}")
        };
        values(&mut *sensor).await.unwrap()[0]
    };

    let (bme280, bmp280, ds18b20) =
        (temperature("bme280").await, temperature("bmp280").await, temperature("ds18b20").await);

    let actual = test.world.weather().temperature;
    assert!((bme280 - actual).abs() < 0.01 && (bmp280 - actual).abs() < 0.01, "{bme280} {bmp280} {actual}");
    assert!((ds18b20 - actual).abs() <= 0.0325, "{ds18b20} {actual}");
}

#[test]
fn invalid_settings_are_refused_with_the_reason() {
    let test = TestWorld::new();
    let error = |driver: &str, settings: Value| match catalog::open(driver, settings, &test.setup) {
        Err(OpenError::Settings { source, .. }) => source.to_string(),
        Err(OpenError::Device { source, .. }) => source.to_string(),
        Err(other) => other.to_string(),
        Ok(device) => panic!("{device:?}"),
    };

    assert!(error("bme280", json!({"bus": "sim", "adress": 118})).contains("unknown field `adress`"));
    assert!(error("bme280", json!({"bus": "sim", "address": 60})).contains("0x76 or 0x77"));
    assert!(error("led", json!({"bus": "sim"})).contains("missing field `pin`"));
    assert!(error("ds18b20", json!({"bus": "pi"})).starts_with("refused"));
    assert!(error("replay", json!({"path": "/nowhere"})).starts_with("not found"));
    assert!(error("bme820", json!({})).contains("there is no driver `bme820`; there are bme280"));
    #[cfg(not(feature = "linux"))]
    assert!(error("led", json!({"pin": 17})).contains("--features linux"));
}

#[test]
fn a_module_reads_its_settings_from_one_table() {
    /// The table of a module's configuration: the program's own keys, and the rest for the driver.
    #[derive(serde::Deserialize)]
    struct Table {
        id: String,
        driver: String,
        every_secs: f64,
        #[serde(flatten)]
        settings: serde_json::Map<String, Value>,
    }
    let test = TestWorld::new();
    let text = "id = \"attic\"\ndriver = \"bme280\"\nevery_secs = 2\nbus = \"sim\"\naddress = 0x77";

    let table: Table = toml::from_str(text).unwrap();
    let device = catalog::open(&table.driver, table.settings, &test.setup).unwrap();

    assert_eq!((table.id.as_str(), table.every_secs), ("attic", 2.0));
    assert!(matches!(device, Device::Sensor(_)));
}

#[test]
fn driver_names_are_unique_and_every_example_is_complete() {
    let mut names: Vec<_> = catalog::entries().map(|entry| entry.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();

    assert_eq!(names.len(), count);
    assert!(catalog::entries().all(|e| e.buses.is_empty() || e.example.contains("bus = \"sim\"")));
}

#[test]
fn the_page_about_drivers_contains_the_tested_program() {
    let file = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();

    let (page, program) = (file("../docs/howto/driver.md"), file("tests/ina226.rs"));

    assert!(
        page.contains(&format!("```rust\n{program}```")),
        "copy tests/ina226.rs into docs/howto/driver.md"
    );
}
