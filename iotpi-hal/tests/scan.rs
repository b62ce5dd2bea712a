//! The list of the devices of a machine, and the settings it proposes.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used)]

use iotpi_core::SystemClock;
use iotpi_hal::{
    catalog::{self, Setup},
    scan::{Found, FoundKind, scan},
    sim::SimSysfs,
};
use serde_json::{Map, Value};

const KERNELS: [&str; 3] = [
    include_str!("sysfs/linux-6.1.txt"),
    include_str!("sysfs/linux-6.6.txt"),
    include_str!("sysfs/linux-6.12.txt"),
];

fn found(kernel: usize) -> Vec<Found> {
    scan(&SimSysfs::new(KERNELS[kernel]).unwrap().sysfs())
}

fn names(found: &[Found], kind: FoundKind) -> Vec<&str> {
    found.iter().filter(|device| device.kind == kind).map(|device| device.name.as_str()).collect()
}

#[test]
fn all_devices_of_a_machine_are_listed_in_the_order_of_their_names() {
    let devices = found(0);

    let iio = [
        "3-0040",
        "bme280",
        "bme280",
        "dht11@4",
        "htu21",
        "maxim_thermocouple",
        "mcp3008",
        "mlx90614",
        "mpu6050",
        "tsl2561",
    ];
    assert_eq!(names(&devices, FoundKind::Iio), iio);
    assert_eq!(names(&devices, FoundKind::Hwmon), ["cpu_thermal", "jc42", "lm75", "tmp102"]);
    assert_eq!(names(&devices, FoundKind::OneWire), ["28-0316a2790c1b"]);
    assert_eq!(names(&devices, FoundKind::Thermal), ["cpu-thermal"]);
    assert_eq!(names(&devices, FoundKind::Led), ["ACT", "PWR"]);
    assert_eq!(names(&devices, FoundKind::Pwm), ["fe20c000.pwm"]);
    assert_eq!(names(&devices, FoundKind::GpioChip), ["gpiochip0"]);
    assert_eq!(names(&devices, FoundKind::I2cBus), ["/dev/i2c-1", "/dev/i2c-20"]);
    let devices = found(1);
    assert_eq!(names(&devices, FoundKind::PowerSupply), ["battery", "usb"]);
    assert_eq!(names(&devices, FoundKind::Input), ["button@11"]);
    assert_eq!(names(&devices, FoundKind::Pwm), ["1f00098000.pwm", "1f0009c000.pwm"]);
    assert_eq!(names(&devices, FoundKind::Camera), ["UVC Camera: \"HD\""]);
    // Neither a trigger, nor a device without channels, nor the hwmon chip of a 1-Wire thermometer.
    let devices = found(2);
    assert!(!names(&devices, FoundKind::Iio).iter().any(|name| ["bme680-trigger", "silent"].contains(name)));
    assert!(!names(&devices, FoundKind::Hwmon).contains(&"w1_slave_temp"));
}

#[tokio::test]
async fn the_proposed_settings_open_their_device() {
    let mut opened = 0;
    for kernel in KERNELS {
        let tree = SimSysfs::new(kernel).unwrap();
        tree.unpack("[sys/class/pwm/pwmchip0/pwm0]\nperiod =\nduty_cycle =\nenable =").unwrap();
        tree.unpack("[sys/class/pwm/pwmchip2/pwm0]\nperiod =\nduty_cycle =\nenable =").unwrap();
        for device in scan(&tree.sysfs()) {
            let Some(text) = &device.settings else { continue };
            let file: Map<String, Value> = toml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let mut settings = file["device"][0].as_object().unwrap().clone();
            let driver = settings.remove("driver").unwrap();
            // The device files of cameras, and the folder of ds18b20, are not below the root.
            if device.kind != FoundKind::Camera && driver != "ds18b20" {
                settings.insert("root".to_owned(), tree.path("").to_str().unwrap().into());
                let setup = Setup::new(SystemClock::shared());
                catalog::open(driver.as_str().unwrap(), settings, &setup).unwrap_or_else(|e| {
                    panic!("{text}: {e}: {:?}", std::error::Error::source(&e).map(ToString::to_string))
                });
                opened += 1;
            }
        }
    }

    assert!(opened > 40, "{opened}");
}

#[test]
fn the_place_on_the_bus_is_proposed_only_where_a_name_is_not_unique() {
    let devices = found(0);
    let of = |name: &str| {
        devices.iter().filter(|d| d.name == name).filter_map(|d| d.settings.clone()).collect::<Vec<_>>()
    };

    assert_eq!(of("htu21"), ["[[device]]\ndriver = \"iio\"\nname = \"htu21\"\n"]);
    assert_eq!(
        of("bme280"),
        [
            "[[device]]\ndriver = \"iio\"\nname = \"bme280\"\ndevice = \"1-0076\"\n",
            "[[device]]\ndriver = \"iio\"\nname = \"bme280\"\ndevice = \"1-0077\"\n",
        ]
    );
    assert_eq!(devices.iter().find(|d| d.name == "htu21").unwrap().about, "humidityrelative, temp; 1-0040");
}

#[test]
fn a_scan_is_the_same_each_time_and_empty_without_files() {
    assert_eq!(found(2), found(2));
    assert_eq!(scan(&SimSysfs::new("").unwrap().sysfs()), []);
}

#[test]
fn odd_names_are_escaped_in_the_settings() {
    let tree = SimSysfs::new("[sys/class/hwmon/hwmon0]\nname = a\"b\\c\u{1}\ntemp1_input = 1").unwrap();

    let settings = scan(&tree.sysfs())[0].settings.clone().unwrap();

    let file: Map<String, Value> = toml::from_str(&settings).unwrap();
    assert_eq!(file["device"][0]["name"], "a\"b\\c\u{1}");
}
