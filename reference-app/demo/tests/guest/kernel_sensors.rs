//! Sensors that the kernel drives, with its real drivers on the simulated I2C bus `i2c-stub`.
//!
//! `make test-vm` runs this; `IOTPI_VM` is the folder with the kernel and the initramfs of its guest.

use std::path::Path;

use iotpi_core::{HubClient, ModuleId, Outcome, Reading};
use tempfile::TempDir;

use crate::{
    machine::{Guest, HOST_ADDRESS, Machine, until},
    programs::{HubProcess, add_token},
};

/// The words from 0x88 on: T1 to T3, P1 to P9 of the example in the datasheet of the BMP280 (BST-BMP280-DS001,
/// section 3.12).
const CALIBRATION: [i32; 12] = [27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000];
/// The registers 0xF7 to 0xFC of that example: the raw pressure 415,148 and the raw temperature 519,888, of 20 bits.
const MEASUREMENT: [u8; 6] = [0x65, 0x5A, 0xC0, 0x7E, 0xED, 0x00];
/// 25.5 degrees Celsius in the temperature register of an LM75, of which the bus sends the low byte first.
const LM75_TEMPERATURE: &str = "i2cset -y 0 0x48 0x00 0x8019 w";

const SETTINGS: &str = "\
heartbeat_secs = 1
[[device]]
driver = \"hwmon\"
name = \"lm75\"
every_secs = 0.5
[[device]]
driver = \"iio\"
name = \"bmp280\"
channel = \"chip\"
every_secs = 0.5
";

fn attic() -> ModuleId {
    ModuleId::new("attic").unwrap()
}

/// Sets the registers of a BMP280 at 0x76.
async fn write_bmp280(guest: &mut Guest) {
    let words = CALIBRATION.iter().flat_map(|word| word.to_le_bytes().into_iter().take(2));
    let registers = (0x88..).zip(words).chain((0xF7..).zip(MEASUREMENT)).chain([(0xD0, 0x58)]);
    for (register, value) in registers {
        guest.run(&format!("i2cset -y 0 0x76 {register:#04x} {value:#04x} b")).await;
    }
}

/// The newest reading of a series.
async fn newest(hub: &HubClient, sensor: &str, channel: Option<&str>) -> Option<Reading> {
    let readings = hub.newest(Some(&attic())).await.ok()?;
    readings.into_iter().find(|reading| {
        reading.quantity.name().as_str() == sensor && reading.channel.as_ref().map(|c| c.as_str()) == channel
    })
}

async fn until_value(hub: &HubClient, sensor: &str, channel: Option<&str>, wanted: f64, tolerance: f64) {
    until(&format!("{sensor} {wanted}"), async || {
        let value = newest(hub, sensor, channel).await?.outcome.value()?;
        ((value - wanted).abs() <= tolerance).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "needs the guest that `make test-vm` builds"]
async fn drivers_of_the_kernel_measure_and_a_removed_chip_is_a_gap() {
    let image = std::env::var("IOTPI_VM").expect("IOTPI_VM is the folder that `make test-vm` builds");
    let data = TempDir::new().unwrap();
    let process = HubProcess::start(data.path(), "127.0.0.1:0").await;
    let operator = add_token(data.path(), &["--role", "operator", "test"]).await;
    let hub = HubClient::new(&process.url).unwrap().with_token(operator);
    let token = add_token(data.path(), &["--role", "module", "--module", "attic"]).await;
    let mut guest = Guest::boot(Machine::Pc, Path::new(&image)).await;
    guest.run("insmod /drivers/i2c-stub.ko chip_addr=0x48,0x76").await;
    write_bmp280(&mut guest).await;
    guest.run(LM75_TEMPERATURE).await;
    let bus = "/sys/bus/i2c/devices/i2c-0";
    guest.run(&format!("echo lm75 0x48 >{bus}/new_device && echo bmp280 0x76 >{bus}/new_device")).await;

    let settings = format!("id = \"attic\"\ntoken = \"{token}\"\n{SETTINGS}");
    guest.start_module(&settings, &process.url.replace("127.0.0.1", HOST_ADDRESS)).await;

    until_value(&hub, "temperature", None, 25.5, 1e-9).await;
    until_value(&hub, "temperature", Some("chip"), 25.08, 1e-9).await;
    until_value(&hub, "pressure", Some("chip"), 100_653.0, 1.0).await;

    // The kernel removes the thermometer: readings without a value, with the reason. The other chip goes on.
    guest.run(&format!("echo 0x48 >{bus}/delete_device")).await;
    let reason =
        until("a reading without a value", async || match newest(&hub, "temperature", None).await?.outcome {
            Outcome::NoData(reason) => Some(reason),
            _ => None,
        })
        .await;
    assert!(reason.starts_with("not found"), "{reason}");
    until_value(&hub, "temperature", Some("chip"), 25.08, 1e-9).await;
    guest.run("kill -0 $module").await;

    // It is there again, with another value.
    guest.run("i2cset -y 0 0x48 0x00 0x001a w").await;
    guest.run(&format!("echo lm75 0x48 >{bus}/new_device")).await;
    until_value(&hub, "temperature", None, 26.0, 1e-9).await;

    guest.shut_down().await;
    process.kill().await;
}
