//! The supply and the throttling of a Raspberry Pi.

use std::fs;

use super::{Machine, finding::Finding};

const AREA: &str = "power";
/// Bits of `get_throttled` (documentation of `vcgencmd`): under-voltage now, and since the boot.
const UNDERVOLTAGE: u32 = 1;
const UNDERVOLTAGE_OCCURRED: u32 = 1 << 16;
/// Frequency capped, throttled, soft temperature limit, now.
const THROTTLED: u32 = 0b1110;
const SUPPLY: &str = "use a supply of 5.1 V with 3 A (Pi 4) or 5 A (Pi 5), and a short cable";

pub fn check(machine: &Machine<'_>) -> Finding {
    match throttled_bits(machine) {
        Some(bits) => of_bits(bits),
        None => match undervoltage_alarm(machine).as_deref() {
            Some("0") => Finding::ok(AREA, "the voltage is not too low"),
            Some(_) => Finding::fail(AREA, "the voltage is too low", SUPPLY),
            None => {
                Finding::ok(AREA, "not a Raspberry Pi, or its kernel does not show the supply: not checked")
            }
        },
    }
}

fn throttled_bits(machine: &Machine<'_>) -> Option<u32> {
    let text = machine.text("/sys/devices/platform/soc/soc:firmware/get_throttled")?;
    u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// The alarm of the kernel driver of a Pi 5.
fn undervoltage_alarm(machine: &Machine<'_>) -> Option<String> {
    let text = |file| Some(fs::read_to_string(file).ok()?.trim().to_owned());
    let chips = fs::read_dir(machine.path("/sys/class/hwmon")).ok()?;
    let mut chips = chips.filter_map(|chip| Some(chip.ok()?.path()));
    let chip = chips.find(|chip| text(chip.join("name")).as_deref() == Some("rpi_volt"))?;
    text(chip.join("in0_lcrit_alarm"))
}

fn of_bits(bits: u32) -> Finding {
    if bits & UNDERVOLTAGE != 0 {
        Finding::fail(AREA, "the voltage is too low", SUPPLY)
    } else if bits & THROTTLED != 0 {
        Finding::warn(AREA, "the processor is throttled: it is too hot", "add a heat sink or a fan")
    } else if bits & UNDERVOLTAGE_OCCURRED != 0 {
        Finding::warn(AREA, "the voltage was too low since the boot", SUPPLY)
    } else {
        Finding::ok(AREA, "the voltage is not too low, and the processor is not throttled")
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            finding::Level,
            testing::{machine, tree},
        },
        *,
    };

    const FILE: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

    #[test]
    fn the_bits_of_the_firmware_are_told_apart() {
        for (bits, level) in
            [("0\n", Level::Ok), ("0x50005\n", Level::Fail), ("50000\n", Level::Warn), ("8\n", Level::Warn)]
        {
            let root = tree(&[(FILE, bits)]);
            assert_eq!(check(&machine(root.path())).level, level, "{bits}");
        }
    }

    #[test]
    fn a_pi_5_shows_an_alarm_instead() {
        for (alarm, level) in [("0", Level::Ok), ("1", Level::Fail)] {
            let chip = "sys/class/hwmon/hwmon2";
            let (name, file) = (format!("{chip}/name"), format!("{chip}/in0_lcrit_alarm"));
            let root = tree(&[(&name, "rpi_volt\n"), (&file, alarm)]);
            assert_eq!(check(&machine(root.path())).level, level, "{alarm}");
        }
        let other = tree(&[]);
        assert!(check(&machine(other.path())).message.contains("not checked"));
    }
}
