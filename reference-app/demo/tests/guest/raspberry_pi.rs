//! A module on an emulated Raspberry Pi 3, with the pins of rppal.
//!
//! `make test-pi` runs this; `IOTPI_PI` is the folder with the kernel, the initramfs and the device tree of its
//! guest.

use std::{fs::File, path::Path, process::Command};

use iotpi_core::{
    Clock, HubClient, ModuleId, NewCommand, ReadingFilter, SystemClock, Timestamp,
    model::{command::CommandState, manifest::Health},
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    machine::{Guest, HOST_ADDRESS, Machine, until},
    programs::{HubProcess, add_token},
};

/// The size of the SD card. QEMU requires a power of two.
const CARD_BYTES: u64 = 64 << 20;
/// The register with the levels of BCM 0 to 31 (BCM2837 ARM Peripherals, section 6.1, GPLEV0 at 0x34).
const PIN_LEVELS: &str = "devmem 0x3f200034 32";
const PIN: u32 = 17;

fn lamp() -> ModuleId {
    ModuleId::new("lamp").unwrap()
}

/// The files of the guest, with an empty SD card of its own.
fn copy_of_guest(built: &Path) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in ["vmlinuz", "initramfs", "board.dtb"] {
        std::os::unix::fs::symlink(built.join(name), folder.path().join(name)).unwrap();
    }
    let card = folder.path().join("card");
    File::create(&card).unwrap().set_len(CARD_BYTES).unwrap();
    let formatted = Command::new("/sbin/mkfs.ext4").arg("-q").arg(&card).status().unwrap();
    assert!(formatted.success());
    folder
}

/// Sets the clock and writes the module's settings and what starts it at every boot, as a service manager does.
async fn install(guest: &mut Guest, token: &str, url: &str) {
    let settings = format!(
        "id = \"lamp\"\nhub = \"{url}\"\ntoken = \"{token}\"\nheartbeat_secs = 1\noutbox = \"/card/outbox\"\n\
         [[device]]\ndriver = \"led\"\nbus = \"pi\"\npin = {PIN}\n\
         [[device]]\ndriver = \"system\"\nevery_secs = 1\n"
    );
    let start = "while :; do iotpi-module run /card/lamp.toml 2>>/tmp/log; sleep 1; done";
    guest.write("/card/lamp.toml", &settings).await;
    guest.write("/card/start", start).await;
    // The time of the start is late by the duration of the boot.
    guest.run(&format!("date -s @{}", SystemClock::new().now().as_secs_f64().round())).await;
    guest.run("sync; sh /card/start >/dev/null 2>&1 </dev/null &").await;
}

/// Whether the pin is high, as the registers of the guest's processor have it.
async fn is_high(guest: &mut Guest) -> bool {
    let levels = guest.run(PIN_LEVELS).await;
    let levels = u32::from_str_radix(levels.trim().trim_start_matches("0x"), 16).unwrap();
    levels & (1 << PIN) != 0
}

/// Waits until the module is registered and has this health.
async fn until_health(hub: &HubClient, wanted: Health) {
    until(&format!("{wanted:?}"), async || {
        let module = hub.module(&lamp()).await.ok()?;
        (module.manifest.is_some() && module.health == wanted).then_some(())
    })
    .await;
}

async fn switch(hub: &HubClient, on: bool) {
    let set = NewCommand::new("set".parse().unwrap()).with_params(json!({"on": on})).unwrap();
    let command = hub.control(&lamp(), &set).await.unwrap();
    let command = until("the end of the command", async || {
        let command = hub.command(&command.id).await.unwrap();
        command.state.is_final().then_some(command)
    })
    .await;
    assert_eq!(command.state, CommandState::Succeeded, "{command:?}");
}

/// Whether there is a reading of the processor's load taken in this period.
async fn has_reading(hub: &HubClient, since: Timestamp, until: Timestamp) -> bool {
    let mut filter = ReadingFilter::of(lamp());
    (filter.since, filter.until) = (Some(since), Some(until));
    !hub.readings(&"load".parse().unwrap(), &filter).all().await.unwrap().is_empty()
}

#[tokio::test]
#[ignore = "needs the guest that `make test-pi` builds"]
async fn a_module_on_a_pi_drives_its_pin_and_survives_kills_and_a_power_cut() {
    let built = std::env::var("IOTPI_PI").expect("IOTPI_PI is the folder that `make test-pi` builds");
    let image = copy_of_guest(Path::new(&built));
    let data = TempDir::new().unwrap();
    let process = HubProcess::start(data.path(), "127.0.0.1:0").await;
    let address = process.url.trim_start_matches("http://").to_owned();
    let operator = add_token(data.path(), &["--role", "operator", "test"]).await;
    let hub = HubClient::new(&process.url).unwrap().with_token(operator);
    let token = add_token(data.path(), &["--role", "module", "--module", "lamp"]).await;
    let mut guest = Guest::boot(Machine::RaspberryPi3, image.path()).await;
    install(&mut guest, &token, &process.url.replace("127.0.0.1", HOST_ADDRESS)).await;

    // A command switches the pin: the register shows it.
    until_health(&hub, Health::Online).await;
    assert!(!is_high(&mut guest).await);
    switch(&hub, true).await;
    assert!(is_high(&mut guest).await);

    // A killed module comes back, with its lamp off.
    let first = guest.run("pidof iotpi-module").await;
    guest.run("kill -9 $(pidof iotpi-module)").await;
    until("a new process", async || {
        let (now, runs) = guest.try_run("pidof iotpi-module").await;
        (runs && now != first).then_some(())
    })
    .await;
    until("the lamp is off", async || (!is_high(&mut guest).await).then_some(())).await;
    until_health(&hub, Health::Online).await;
    switch(&hub, true).await;

    // Without a hub the readings wait on the card; then the power is cut.
    process.kill().await;
    let clock = SystemClock::new();
    let hub_ended = clock.now();
    let on_card = "[ -n \"$(find /card/outbox -name '*.seg' -size +0)\" ]";
    until("readings on the card", async || guest.try_run(on_card).await.1.then_some(())).await;
    // The outbox syncs every second; the kernel of the guest is not asked for more.
    guest.run("sleep 2").await;
    guest.cut_power().await;
    let power_cut = clock.now();
    let process = HubProcess::start(data.path(), &address).await;
    until_health(&hub, Health::Offline).await;
    assert!(!has_reading(&hub, hub_ended, power_cut).await);

    // Powered again, the module comes back by itself and delivers what waited on the card.
    let mut guest = Guest::boot(Machine::RaspberryPi3, image.path()).await;
    until_health(&hub, Health::Online).await;
    until("the readings of the card", async || has_reading(&hub, hub_ended, power_cut).await.then_some(()))
        .await;
    assert!(!is_high(&mut guest).await);
    guest.cut_power().await;
    process.kill().await;
}
