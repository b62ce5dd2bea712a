use std::time::Duration;

use iotpi_core::{
    Channel, DeviceError, DeviceErrorKind, Module, Outcome, Quantity, Runner, Sample, Sensor, SensorModule,
    Timestamp, async_trait, measure, model::reading::SeriesSpec, module::RunError, testing::RecordingUplink,
    time::ManualClock,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::hub;

#[tokio::test(start_paused = true)]
async fn a_sensor_is_read_at_its_interval_with_the_time_of_the_clock() {
    let (hub, stop) = (hub(), CancellationToken::new());
    let clock = ManualClock::at(Timestamp::MIN);
    let mut reads = 0;
    let sensor = measure(Quantity::Temperature, {
        let clock = clock.clone();
        move || {
            reads += 1;
            clock.advance(Duration::from_secs(60));
            let value = f64::from(reads);
            async move { Ok(value) }
        }
    });
    let module = SensorModule::new(sensor, Duration::from_secs(60)).with_clock(clock);

    let running = tokio::spawn(Runner::new(hub.clone()).run_until(module, stop.clone()));
    hub.until(|hub| hub.readings().len() == 3).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let readings = hub.readings();
    assert_eq!(
        readings.iter().map(|r| r.outcome.value()).collect::<Vec<_>>(),
        [Some(1.0), Some(2.0), Some(3.0)]
    );
    assert_eq!(readings[2].taken_at, Timestamp::MIN.plus(Duration::from_secs(180)));
    assert_eq!(readings[0].module_id.as_str(), "attic");
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_is_recorded_with_its_reason_and_the_next_read_follows() {
    let (hub, stop) = (hub(), CancellationToken::new());
    let mut reads = 0;
    let sensor = measure(Quantity::Humidity, async move || {
        reads += 1;
        if reads == 1 {
            return Err(DeviceError::new(DeviceErrorKind::Timeout, "no answer at 0x76").into());
        }
        Ok(40.0)
    });

    let running = tokio::spawn(
        Runner::new(hub.clone()).run_until(SensorModule::new(sensor, Duration::from_secs(1)), stop.clone()),
    );
    hub.until(|hub| hub.readings().len() == 2).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let readings = hub.readings();
    assert_eq!(readings[0].outcome, Outcome::NoData("timeout: no answer at 0x76".to_owned()));
    assert_eq!(readings[1].outcome, Outcome::Value(40.0));
}

#[tokio::test(start_paused = true)]
async fn once_records_one_reading_and_returns_the_error_of_the_sensor() {
    let hub = hub();
    let sensor = measure(Quantity::Temperature, async || Err::<f64, _>(DeviceErrorKind::Timeout.into()));

    let result = Runner::new(hub.clone()).once(SensorModule::new(sensor, Duration::from_secs(1))).await;

    assert!(matches!(result, Err(RunError::Module(_))), "{result:?}");
    assert_eq!(hub.readings().len(), 1);
    assert_eq!(hub.manifests().len(), 1);
}

#[tokio::test]
async fn a_read_that_failed_on_the_bus_is_repeated_once() {
    let hub = hub();
    let mut reads = 0;
    let sensor = measure(Quantity::Humidity, async move || {
        reads += 1;
        if reads == 2 { Ok(40.0) } else { Err(DeviceErrorKind::Bus.into()) }
    });

    Runner::new(hub.clone()).once(SensorModule::new(sensor, Duration::from_secs(1))).await.unwrap();
    let broken = measure(Quantity::Humidity, async || Err::<f64, _>(DeviceErrorKind::Bus.into()));
    let result = Runner::new(hub.clone()).once(SensorModule::new(broken, Duration::from_secs(1))).await;

    assert!(result.is_err());
    let outcomes: Vec<_> = hub.readings().iter().map(|reading| reading.outcome.value()).collect();
    assert_eq!(outcomes, [Some(40.0), None]);
}

#[tokio::test]
async fn a_quantity_that_the_sensor_did_not_return_is_recorded_without_data() {
    let hub = hub();
    let both = [Quantity::Temperature, Quantity::Humidity];
    let sensor = measure(both, async || Ok(vec![Sample::new(Quantity::Temperature, 21.5)]));

    Runner::new(hub.clone()).once(SensorModule::new(sensor, Duration::from_secs(1))).await.unwrap();

    let readings = hub.readings();
    assert_eq!(readings.len(), 2);
    assert_eq!((&readings[0].quantity, readings[0].outcome.value()), (&Quantity::Temperature, Some(21.5)));
    assert_eq!((&readings[1].quantity, readings[1].outcome.value()), (&Quantity::Humidity, None));
}

#[tokio::test]
async fn a_physically_impossible_value_is_recorded_without_data_and_the_rest_of_the_read_is_kept() {
    let hub = hub();
    let values = [
        (Quantity::Temperature, -273.2, false),
        (Quantity::Humidity, -0.1, false),
        (Quantity::Pressure, -1.0, false),
        (Quantity::Illuminance, -1.0, false),
        (Quantity::Co2, -1.0, false),
        (Quantity::Motion, 2.0, false),
        (Quantity::Voltage, -12.0, true),
        (Quantity::Distance, 1e9, true),
    ];
    let read: Vec<_> =
        values.iter().map(|(quantity, value, _)| Sample::new(quantity.clone(), *value)).collect();
    let sensor = measure(values.clone().map(|(quantity, ..)| quantity), async move || Ok(read.clone()));

    Runner::new(hub.clone()).once(SensorModule::new(sensor, Duration::from_secs(1))).await.unwrap();

    let readings = hub.readings();
    assert_eq!(readings.len(), values.len());
    for (reading, (quantity, value, is_possible)) in readings.iter().zip(values) {
        assert_eq!((&reading.quantity, reading.outcome.value()), (&quantity, is_possible.then_some(value)));
    }
    assert_eq!(readings[0].outcome.reason(), Some("out of range: -273.2 celsius"));
}

#[tokio::test]
async fn the_limits_of_the_physical_range_are_values() {
    let hub = hub();
    let samples = vec![
        Sample::new(Quantity::Temperature, -273.15),
        Sample::new(Quantity::Humidity, 0.0),
        Sample::new(Quantity::Motion, 1.0),
    ];
    let quantities = [Quantity::Temperature, Quantity::Humidity, Quantity::Motion];
    let sensor = measure(quantities, async move || Ok(samples.clone()));

    Runner::new(hub.clone()).once(SensorModule::new(sensor, Duration::from_secs(1))).await.unwrap();

    let values: Vec<_> = hub.readings().iter().map(|reading| reading.outcome.value()).collect();
    assert_eq!(values, [Some(-273.15), Some(0.0), Some(1.0)]);
}

#[test]
fn the_manifest_has_the_quantities_and_the_interval() {
    let sensor = measure(Quantity::Pressure, async || Ok(1.0));

    let manifest = SensorModule::new(sensor, Duration::from_secs(5)).described("Barometer").manifest();

    assert_eq!(
        serde_json::to_value(manifest).unwrap(),
        serde_json::json!({"description": "Barometer", "measures": [{"type": "pressure", "unit": "pascal", "every_secs": 5.0}], "actions": []})
    );
}

/// A converter that does not return its second channel.
struct Converter;

fn voltage(channel: &str) -> SeriesSpec {
    SeriesSpec::new(Quantity::Voltage).with_channel(Channel::new(channel).unwrap())
}

#[async_trait]
impl Sensor for Converter {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Voltage]
    }

    fn series(&self) -> Vec<SeriesSpec> {
        vec![voltage("a0"), voltage("a1")]
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        Ok(vec![Sample::new(voltage("a0"), 3.3)])
    }
}

#[tokio::test]
async fn a_channel_that_the_sensor_does_not_return_is_recorded_without_a_value() {
    let hub = hub();
    let module = SensorModule::new(Converter, Duration::from_secs(60));

    Runner::new(hub.clone()).once(module).await.unwrap();

    let readings = hub.readings();
    let recorded: Vec<_> =
        readings.iter().map(|r| (r.channel.as_ref().map(Channel::as_str), r.outcome.value())).collect();
    assert_eq!(recorded, [(Some("a0"), Some(3.3)), (Some("a1"), None)]);
}

/// A contact that reports each change of a channel.
struct Contact(watch::Receiver<f64>);

#[async_trait]
impl Sensor for Contact {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Motion]
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        Ok(vec![Sample::new(Quantity::Motion, *self.0.borrow_and_update())])
    }

    async fn changed(&mut self) {
        // Only a read marks the change as seen.
        if self.0.clone().changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Runs a module that is read every minute.
fn start(sensor: impl Sensor + 'static) -> (RecordingUplink, CancellationToken) {
    let (hub, stop) = (hub(), CancellationToken::new());
    let module = SensorModule::new(sensor, Duration::from_secs(60));
    tokio::spawn(Runner::new(hub.clone()).run_until(module, stop.clone()));
    (hub, stop)
}

fn values(hub: &RecordingUplink) -> Vec<f64> {
    hub.readings().iter().filter_map(|reading| reading.outcome.value()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_is_read_before_the_interval_ends() {
    let (level, changes) = watch::channel(0.0);
    let sensor: Box<dyn Sensor> = Box::new(Contact(changes));
    let (hub, stop) = start(sensor.on_channel("front".parse().unwrap()));
    hub.until(|hub| hub.readings().len() == 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();

    level.send(1.0).unwrap();
    hub.until(|hub| hub.readings().len() == 2).await;
    stop.cancel();

    assert_eq!(values(&hub), [0.0, 1.0]);
    assert_eq!(hub.readings()[1].channel.as_ref().map(Channel::as_str), Some("front"));
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_contact_that_bounces_is_read_at_most_ten_times_a_second() {
    let (level, changes) = watch::channel(0.0);
    let (hub, stop) = start(Contact(changes));

    for bounce in 0..1000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        level.send(f64::from(bounce % 2)).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();

    let values = values(&hub);
    assert!((10..=12).contains(&values.len()), "{values:?}");
    assert_eq!(values.last(), Some(&1.0));
}

#[tokio::test(start_paused = true)]
async fn without_a_change_a_sensor_is_read_at_its_interval() {
    let (_level, changes) = watch::channel(0.0);
    let (hub, stop) = start(Contact(changes));

    tokio::time::sleep(Duration::from_secs(181)).await;
    stop.cancel();

    assert_eq!(values(&hub).len(), 4);
}
