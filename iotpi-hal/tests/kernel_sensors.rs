//! The drivers of what the kernel drives, on the kernel files of three versions of Linux.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::symlink, path::Path};

use iotpi_core::{DeviceError, DeviceErrorKind, Sample};
use iotpi_hal::{
    drivers::BlockingSensor,
    kernel::{
        DeviceFilter,
        hwmon::Hwmon,
        iio::{Iio, IioConfig, LinearScale},
        power_supply::PowerSupply,
        thermal::Thermal,
        w1::W1,
    },
    sim::SimSysfs,
};
use proptest::prelude::*;

const V6_1: &str = include_str!("sysfs/linux-6.1.txt");
const V6_6: &str = include_str!("sysfs/linux-6.6.txt");
const V6_12: &str = include_str!("sysfs/linux-6.12.txt");

fn tree(text: &str) -> SimSysfs {
    SimSysfs::new(text).unwrap()
}

/// `name`, or `name@device`.
fn filter(text: &str) -> DeviceFilter {
    match text.split_once(" on ") {
        Some((name, device)) => DeviceFilter { device: Some(device.to_owned()), ..DeviceFilter::named(name) },
        None => DeviceFilter::named(text),
    }
}

fn iio(tree: &SimSysfs, chip: &str) -> Result<Iio, DeviceError> {
    Iio::open(tree.sysfs(), filter(chip), IioConfig::default())
}

fn hwmon(tree: &SimSysfs, chip: &str) -> Result<Hwmon, DeviceError> {
    Hwmon::open(tree.sysfs(), filter(chip), &[])
}

/// The samples as `type/channel`, with their values.
fn values(samples: &[Sample]) -> Vec<(String, Option<f64>)> {
    let series = |sample: &Sample| match &sample.channel {
        Some(channel) => format!("{}/{channel}", sample.quantity.name_str()),
        None => sample.quantity.name_str().to_owned(),
    };
    samples.iter().map(|sample| (series(sample), sample.outcome.value())).collect()
}

fn check(chip: &str, mut sensor: impl BlockingSensor, expected: &[(&str, f64)]) {
    let measured = values(&sensor.sense().unwrap_or_else(|error| panic!("{chip}: {error}")));

    let names: Vec<_> = measured.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "{chip}");
    for ((name, value), (_, expected)) in measured.iter().zip(expected) {
        let value = value.unwrap_or_else(|| panic!("{chip}: {name} has no value"));
        // The kernel rounds scales to nine digits.
        assert!(
            (value - expected).abs() <= expected.abs() * 1e-6 + 1e-9,
            "{chip} {name}: {value}, not {expected}"
        );
    }
}

/// Kernel, chip, and its values worked out by hand from the raw values in the files.
type Table = &'static [(&'static str, &'static str, &'static [(&'static str, f64)])];

const IIO: Table = &[
    (V6_1, "bme280 on 1-0076", &[("humidity", 41.23), ("pressure", 101_325.0), ("temperature", 23.45)]),
    (V6_1, "bme280 on 1-0077", &[("humidity", 88.0), ("pressure", 98_712.5), ("temperature", -5.12)]),
    (V6_1, "dht11", &[("humidity", 55.1), ("temperature", 21.3)]),
    (V6_1, "htu21", &[("humidity", 47.3), ("temperature", 22.875)]),
    // Si7021: (7000 - 786) * 7.629394531 m%; (6500 - 4368) * 10.725097656 m°C.
    (V6_1, "3-0040", &[("humidity", 47.409_057_615), ("temperature", 22.865_908_203)]),
    (V6_1, "tsl2561", &[("illuminance", 312.0), ("intensity/both", 1200.0), ("intensity/ir", 210.0)]),
    // 512, 1023 and 100 steps of 3300 / 1024 mV.
    (
        V6_1,
        "mcp3008",
        &[
            ("voltage/0", 1.65),
            ("voltage/0-1", 0.322_265_625),
            ("voltage/1", 3.296_777_343_75),
            ("voltage/1-0", 0.0),
        ],
    ),
    (V6_1, "maxim_thermocouple", &[("temperature", 100.0), ("temperature/ambient", 23.0)]),
    // (14757 - 13657.5) * 0.02 K, (15508 - 13657.5) * 0.02 K.
    (V6_1, "mlx90614", &[("temperature/ambient", 21.99), ("temperature/object", 37.01)]),
    // 16384 steps of 0.000598 m/s²: 1 g. (-2500 + 12420) * 2.941176 m°C.
    (
        V6_1,
        "mpu6050",
        &[
            ("acceleration/x", 0.0),
            ("acceleration/y", -0.612_352),
            ("acceleration/z", 9.797_632),
            ("angular-velocity/x", 0.106_472_4),
            ("angular-velocity/y", 0.0),
            ("angular-velocity/z", -0.532_362),
            ("temperature", 29.176_465_92),
        ],
    ),
    // 742 * 0.0001 % CO2; 24248 * 100 / 65536 %; 26214 * 175 / 65536 - 45 °C.
    (V6_6, "scd41", &[("co2", 742.0), ("humidity", 36.999_511_7), ("temperature", 24.998_931_9)]),
    (V6_6, "ads1015", &[("voltage/0", 1.65), ("voltage/0-1", -0.02), ("voltage/1", 1.65)]),
    // 2500 * 10 µV over 0.1 ohm; the register of the bus voltage has 4 mV in bit 3; 150 * 20 mW.
    (V6_6, "ina219", &[("current", 0.25), ("power", 3.0), ("voltage/0", 0.025), ("voltage/1", 12.008)]),
    (V6_6, "ccs811", &[("co2", 612.0), ("voc", 0.032), ("current", 0.000_009), ("voltage", 0.806_451_5)]),
    (V6_6, "sgp30", &[("co2", 450.0), ("voc", 0.031)]),
    (V6_6, "sps30", &[("pm1", 3.21), ("pm10", 5.22), ("pm2-5", 4.56), ("pm4", 5.01)]),
    (V6_6, "bh1750", &[("illuminance", 349.999_86)]),
    (V6_6, "vl53l0x", &[("distance", 0.347)]),
    (V6_6, "max31856", &[("temperature", 100.0), ("temperature/ambient", 23.125)]),
    (V6_12, "bmp280", &[("pressure", 99_853.0), ("temperature", 25.12)]),
    (V6_12, "bmp388", &[("pressure", 99_871.23), ("temperature", 24.87)]),
    // HDC1080: 32768 * 100 / 65536 %; 24832 * 165 / 65536 - 40 °C.
    (V6_12, "1-0043", &[("humidity", 50.0), ("temperature", 22.519_531_25)]),
    (V6_12, "tsl2591", &[("illuminance", 187.4), ("intensity/both", 1893.0), ("intensity/ir", 402.0)]),
    (
        V6_12,
        "adxl345",
        &[("acceleration/x", -0.4596), ("acceleration/y", 0.1149), ("acceleration/z", 9.8048)],
    ),
    (
        V6_12,
        "lsm6dso_accel",
        &[("acceleration/x", 0.0), ("acceleration/y", 0.098_105_62), ("acceleration/z", 9.806_374_565)],
    ),
    (
        V6_12,
        "lsm6dso_gyro",
        &[
            ("angular-velocity/x", 0.008_704_812),
            ("angular-velocity/y", -0.000_458_148),
            ("angular-velocity/z", 0.001_679_876),
        ],
    ),
    // 8912896 * 1.536 nV; half the range is no load.
    (V6_12, "hx711", &[("voltage/0", 0.013_690_208_256), ("voltage/1", 0.012_884_901_888)]),
    (V6_12, "veml6030", &[("illuminance", 1_264.000_32), ("intensity", 1_762.000_56)]),
    (V6_12, "ads1115", &[("voltage/soil-probe", 2.0), ("voltage/battery-half", -0.05)]),
    (
        V6_12,
        "bme680",
        &[("humidity", 44.871), ("pressure", 100_712.0), ("resistance", 87_320.0), ("temperature", 23.15)],
    ),
];

const HWMON: Table = &[
    (V6_1, "lm75", &[("temperature", 19.5)]),
    (V6_1, "tmp102", &[("temperature", -12.062)]),
    (V6_1, "jc42", &[("temperature", 24.187)]),
    (V6_1, "cpu_thermal", &[("temperature", 48.312)]),
    (V6_6, "sht3x", &[("temperature", 22.187), ("humidity", 46.552)]),
    (V6_6, "aht10", &[("temperature", 21.934), ("humidity", 51.873)]),
    (V6_6, "ina226", &[("voltage/0", 0.004), ("voltage/1", 12.035), ("current", 2.15), ("power", 25.875)]),
    (V6_6, "pwmfan", &[("fan-speed", 2874.0)]),
    (V6_6, "rpi_volt", &[("undervoltage", 1.0)]),
    (V6_6, "rp1_adc", &[("temperature", 51.283), ("voltage/1", 1.454), ("voltage/2", 2.603)]),
    (V6_12, "sht4x", &[("temperature", 20.431), ("humidity", 62.117)]),
];

#[test]
fn every_chip_of_three_kernels_is_read_in_canonical_units() {
    for kernel in [V6_1, V6_6, V6_12] {
        let tree = tree(kernel);
        for (_, chip, expected) in IIO.iter().filter(|row| row.0 == kernel) {
            check(chip, iio(&tree, chip).unwrap_or_else(|e| panic!("{chip}: {e}")), expected);
        }
        for (_, chip, expected) in HWMON.iter().filter(|row| row.0 == kernel) {
            check(chip, hwmon(&tree, chip).unwrap_or_else(|e| panic!("{chip}: {e}")), expected);
        }
    }
    assert!(IIO.len() + HWMON.len() >= 40);
}

#[test]
fn zones_batteries_and_thermometers_are_read() {
    let (v6_1, v6_6, v6_12) = (tree(V6_1), tree(V6_6), tree(V6_12));

    check("zone", Thermal::open(v6_1.sysfs(), Some("cpu-thermal")).unwrap(), &[("temperature", 48.312)]);
    let zones = [("temperature/cpu-thermal", 44.008), ("temperature/wifi", 39.0)];
    check("zones", Thermal::open(v6_12.sysfs(), None).unwrap(), &zones);
    let battery = PowerSupply::open(v6_6.sysfs(), Some("battery".to_owned())).unwrap();
    let expected = [("battery-level", 87.0), ("voltage", 3.9725), ("charging", 0.0), ("online", 1.0)];
    check("battery", battery, &expected);
    let ds18s20 = W1::open(&v6_12.sysfs(), Vec::new()).unwrap();
    check("10-000802b5f3c1", ds18s20, &[("temperature/10-000802b5f3c1", 25.0)]);
}

#[test]
fn a_device_is_found_by_its_place_or_its_label_and_never_by_its_number() {
    let (v6_1, v6_12) = (tree(V6_1), tree(V6_12));
    let open = |tree: &SimSysfs, filter| Iio::open(tree.sysfs(), filter, IioConfig::default());

    let label = DeviceFilter { label: Some("window".to_owned()), ..DeviceFilter::default() };
    let spi = DeviceFilter { device: Some("spi0.0".to_owned()), ..DeviceFilter::default() };
    let ambiguous = open(&v6_1, DeviceFilter::named("bme280")).unwrap_err();
    let absent = open(&v6_1, DeviceFilter::named("bme680")).unwrap_err();

    assert_eq!(open(&v6_12, label).unwrap().quantities().len(), 2);
    assert_eq!(open(&v6_1, spi).unwrap().quantities().len(), 4);
    assert!(ambiguous.to_string().contains("choose one with `device`, of 1-0076, 1-0077"), "{ambiguous}");
    assert!(absent.to_string().contains("dht11@4"), "{absent}");
    for error in [ambiguous, absent] {
        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
    }
    for number in ["iio:device0", "0"] {
        assert!(open(&v6_1, DeviceFilter::named(number)).is_err());
    }
}

#[test]
fn a_device_that_vanishes_is_an_error_until_it_is_back_under_another_number() {
    let tree = tree(V6_6);
    let (mut co2, mut air) = (iio(&tree, "scd41").unwrap(), hwmon(&tree, "sht3x").unwrap());
    let links =
        [("sys/bus/iio/devices", "iio:device0", "iio:device40"), ("sys/class/hwmon", "hwmon5", "hwmon50")];
    let real: Vec<_> =
        links.iter().map(|(class, name, _)| fs::canonicalize(tree.path(class).join(name)).unwrap()).collect();

    for (class, name, _) in links {
        fs::remove_file(tree.path(class).join(name)).unwrap();
    }
    let gone = [co2.sense().unwrap_err().kind(), air.sense().unwrap_err().kind()];
    for ((class, _, name), real) in links.iter().zip(&real) {
        symlink(real, tree.path(class).join(name)).unwrap();
    }

    assert_eq!(gone, [DeviceErrorKind::NotFound; 2]);
    assert_eq!(values(&co2.sense().unwrap())[0], ("co2".to_owned(), Some(742.0)));
    assert_eq!(values(&air.sense().unwrap())[1], ("humidity".to_owned(), Some(46.552)));
}

#[test]
fn a_device_with_named_channels_may_be_connected_later() {
    let tree = tree("");
    let config = IioConfig { channels: vec!["temp".to_owned()], ..IioConfig::default() };
    let mut chip = Iio::open(tree.sysfs(), DeviceFilter::named("bmp280"), config).unwrap();

    let before = chip.sense().unwrap_err().kind();
    tree.unpack(V6_12).unwrap();
    let after = values(&chip.sense().unwrap());

    assert_eq!(before, DeviceErrorKind::NotFound);
    assert_eq!(after, [("temperature".to_owned(), Some(25.12))]);
}

#[test]
fn a_fault_of_a_channel_is_a_gap_of_that_channel() {
    let tree = tree(V6_12);
    let mut chip = hwmon(&tree, "max6581").unwrap();

    let samples = chip.sense().unwrap();

    let expected = [
        ("temperature/board", Some(31.0)),
        ("temperature/probe-a", None),
        ("temperature/probe-b", Some(28.375)),
    ];
    assert_eq!(values(&samples), expected.map(|(name, value)| (name.to_owned(), value)));
    assert!(samples[1].outcome.reason().unwrap().contains("temp2 reports a fault"));
}

#[test]
fn an_analogue_sensor_has_the_quantity_and_unit_of_its_settings() {
    let tree = tree(V6_12);
    let soil = LinearScale {
        quantity: iotpi_core::Quantity::new("soil-moisture".parse().unwrap(), iotpi_core::Unit::PERCENT),
        scale: 50.0,
        offset: -50.0,
    };
    let config = IioConfig {
        channels: vec!["voltage0".to_owned()],
        scales: [("voltage0".to_owned(), soil.clone())].into(),
    };

    let chip = Iio::open(tree.sysfs(), DeviceFilter::named("ads1115"), config).unwrap();
    let wrong = IioConfig { scales: [("voltage9".to_owned(), soil)].into(), ..IioConfig::default() };
    let error = Iio::open(tree.sysfs(), DeviceFilter::named("ads1115"), wrong).unwrap_err();

    // 2 V * 50 - 50.
    check("ads1115", chip, &[("soil-moisture", 50.0)]);
    assert!(error.to_string().contains("voltage9"), "{error}");
}

#[test]
fn odd_files_are_gaps_or_errors_and_never_panic() {
    let device = "[sys/bus/iio/devices/iio:device0]\nname = odd\nin_temp_input = 21000\n";
    // The value of the other channel, beside a temperature that is fine.
    let changed = |attributes: &str, change: &dyn Fn(&Path)| {
        let tree = tree(&format!("{device}{attributes}"));
        change(&tree.path("sys/bus/iio/devices/iio:device0"));
        let mut values = values(&iio(&tree, "odd").unwrap().sense().unwrap());
        values.retain(|sample| *sample != ("temperature".to_owned(), Some(21.0)));
        assert_eq!(values.len(), 1, "{attributes}");
        values.remove(0).1
    };
    let value = |attributes: &str| changed(attributes, &|_| {});

    assert_eq!(value("in_voltage0_raw = 1\nin_voltage0_scale = much"), None);
    assert_eq!(value("in_voltage0_raw = 1\nin_voltage_scale ="), None);
    assert_eq!(value("in_voltage0_raw = 99999999999999999999999\nin_voltage_scale = 1e300"), None);
    assert_eq!(value("in_voltage0_raw = 1\nin_voltage_scale = 3.000000 dB"), None);
    // Without a scale it is 1, by the ABI: millivolts.
    assert_eq!(value("in_voltage0_raw = 1500"), Some(1.5));
    assert_eq!(value("in_humidityrelative_input = 111000"), None);
    let bytes = |folder: &Path| fs::write(folder.join("in_voltage0_raw"), [0xFF, 0]).unwrap();
    assert_eq!(changed("in_voltage0_raw = 1", &bytes), None);
    let subfolder = |folder: &Path| fs::create_dir(folder.join("in_voltage0_raw")).unwrap();
    assert_eq!(changed("in_voltage0_scale = 1", &subfolder), None);
}

#[test]
fn devices_without_a_readable_name_are_not_found() {
    let tree = tree(
        "[sys/bus/iio/devices/iio:device0]\nin_temp_input = 1\n[sys/bus/iio/devices/iio:device1]\nname =\n\
         [sys/bus/iio/devices/iio:device2/name]\n[sys/class/hwmon/hwmon0]\ntemp1_input = 1\n[sys/class/thermal]\n\
         thermal_zone0 = 1\n[sys/class/power_supply]\nbattery =",
    );
    fs::write(tree.path("sys/bus/iio/devices/iio:device3"), "a file").unwrap();

    assert_eq!(iio(&tree, "bme280").unwrap_err().kind(), DeviceErrorKind::NotFound);
    assert_eq!(hwmon(&tree, "lm75").unwrap_err().kind(), DeviceErrorKind::NotFound);
    assert_eq!(Thermal::open(tree.sysfs(), None).unwrap_err().kind(), DeviceErrorKind::NotFound);
    assert!(PowerSupply::open(tree.sysfs(), None).is_err());
}

proptest! {
    // Each case writes a tree of files.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The formula of the ABI, for values as the kernel prints them: integers, and numbers with nine decimals.
    #[test]
    fn a_raw_value_is_offset_and_then_scaled(
        raw in -1_000_000_000_i64..1_000_000_000,
        offset in proptest::option::of(-20_000_000_000_i64..20_000_000_000),
        scale in proptest::option::of(1_i64..5_000_000_000),
        is_shared: bool,
    ) {
        let nano = |value: i64| format!("{}{}.{:09}", if value < 0 { "-" } else { "" }, value.abs() / 1_000_000_000, value.abs() % 1_000_000_000);
        let channel = if is_shared { "in_current" } else { "in_current3" };
        let mut text = format!("[sys/bus/iio/devices/iio:device0]\nname = x\nin_current3_raw = {raw}\n");
        offset.iter().for_each(|offset| text += &format!("{channel}_offset = {}\n", nano(*offset)));
        scale.iter().for_each(|scale| text += &format!("{channel}_scale = {}\n", nano(*scale)));

        let value = values(&iio(&tree(&text), "x").unwrap().sense().unwrap())[0].1.unwrap();

        let (offset, scale) = (offset.unwrap_or(0) as f64 / 1e9, scale.map_or(1.0, |scale| scale as f64 / 1e9));
        let expected = (raw as f64 + offset) * scale / 1000.0;
        prop_assert!((value - expected).abs() <= expected.abs() * 1e-9 + 1e-9, "{} {}", value, expected);
    }

    #[test]
    fn any_attributes_of_a_device_are_read_without_a_panic(
        names in prop::collection::vec("(in|out)_[a-z]{2,16}[0-9]{0,3}(-[a-z]{1,8}[0-9])?(_[a-z0-9]{1,8})?_(raw|input|scale|label)|(temp|in|fan|curr)[0-9]{0,3}_(input|label|fault)", 0..12),
        texts in prop::collection::vec("[ -~]{0,30}", 12),
    ) {
        let tree = tree("[sys/bus/iio/devices/iio:device0]\nname = x\n[sys/class/hwmon/hwmon0]\nname = x");
        for (name, text) in names.iter().zip(&texts) {
            fs::write(tree.path("sys/bus/iio/devices/iio:device0").join(name), text).unwrap();
            fs::write(tree.path("sys/class/hwmon/hwmon0").join(name), text).unwrap();
        }

        if let Ok(mut chip) = iio(&tree, "x") {
            prop_assert!(chip.sense().map_or(0, |samples| samples.len()) <= names.len());
        }
        if let Ok(mut chip) = hwmon(&tree, "x") {
            prop_assert!(chip.sense().map_or(0, |samples| samples.len()) <= names.len());
        }
        let _ = iotpi_hal::scan::scan(&tree.sysfs());
    }
}
