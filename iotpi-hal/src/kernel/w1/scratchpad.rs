//! The scratchpad of a 1-Wire thermometer, as the kernel shows it in `w1_slave`.

use iotpi_core::{DeviceError, DeviceErrorKind};

/// DS18S20: half degrees, and a count for the rest.
const DS18S20: &str = "10";
/// DS1825, and MAX31850 for thermocouples.
const DS1825: &str = "3b";
/// The value in the scratchpad after power-on, in thousandths of a degree.
const POWER_ON_MILLIDEGREES: i32 = 85_000;
/// Byte 6 between power-on and the first conversion.
const POWER_ON_BYTE_6: u8 = 0x0C;

/// The temperature in degrees Celsius, from the two lines of the kernel:
/// `72 01 4b 46 7f ff 0e 10 57 : crc=57 YES` and `72 01 4b 46 7f ff 0e 10 57 t=23125`. `family` is the
/// first part of the id.
pub(super) fn temperature(family: &str, text: &str) -> Result<f64, DeviceError> {
    let mut lines = text.lines();
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else {
        return Err(bus("the kernel got no answer from the thermometer"));
    };
    let garbled = || {
        let message = "the thermometer's answer was garbled on the wire";
        DeviceError::new(DeviceErrorKind::Checksum, message)
    };
    if !first.trim_end().ends_with("YES") {
        return Err(garbled());
    }
    let bytes = bytes(first).ok_or_else(|| bus("the kernel shows no scratchpad"))?;
    let [data @ .., checksum] = bytes;
    if crc8(&data) != checksum {
        return Err(garbled());
    }
    // A bus shorted to ground reads as zeros. The checksum of zeros is also zero.
    if bytes == [0; 9] {
        return Err(bus("the bus reads as zeros: DQ is shorted to ground"));
    }
    if family == DS1825 && data[4] >> 4 == 0xF {
        return thermocouple(data);
    }
    let shown = second.rsplit_once("t=").and_then(|(_, number)| number.trim().parse().ok());
    let millidegrees = shown.ok_or_else(|| bus("the kernel shows no temperature"))?;
    if millidegrees == POWER_ON_MILLIDEGREES && data[6] == POWER_ON_BYTE_6 {
        let chip =
            if family == DS18S20 { ", or exactly 85 °C, which a DS18S20 shows in the same way" } else { "" };
        let message =
            format!("85 °C is the value after power-on: the thermometer lost power while it measured{chip}");
        return Err(out_of_range(message));
    }
    checked(millidegrees)
}

/// A temperature in thousandths of a degree, of the `temperature` file, which has no scratchpad.
pub(super) fn without_scratchpad(millidegrees: i32) -> Result<f64, DeviceError> {
    if millidegrees == POWER_ON_MILLIDEGREES {
        let message =
            "85 °C is also the value after power-on, and without `w1_slave` they cannot be distinguished";
        return Err(out_of_range(message.to_owned()));
    }
    checked(millidegrees)
}

fn checked(millidegrees: i32) -> Result<f64, DeviceError> {
    let celsius = f64::from(millidegrees) / 1000.0;
    if (-55.0..=125.0).contains(&celsius) {
        return Ok(celsius);
    }
    Err(out_of_range(format!("{celsius} °C is outside -55 to 125")))
}

/// MAX31850 (datasheet, memory map): bytes 0 and 1 are sixteenths of a degree of the thermocouple, of which
/// the lowest two bits are a reserved one and the fault. Bits 0 to 2 of byte 2 are the kind of fault.
fn thermocouple(data: [u8; 8]) -> Result<f64, DeviceError> {
    if data[0] & 1 == 1 {
        let kind = match data[2] & 7 {
            1 => "it is not connected",
            2 => "it is shorted to ground",
            4 => "it is shorted to the supply",
            _ => "it is broken or shorted",
        };
        return Err(DeviceError::new(DeviceErrorKind::Other, format!("fault of the thermocouple: {kind}")));
    }
    let celsius = f64::from(i16::from_le_bytes([data[0] & 0xFC, data[1]])) / 16.0;
    if (-270.0..=1800.0).contains(&celsius) {
        return Ok(celsius);
    }
    Err(out_of_range(format!("{celsius} °C is outside -270 to 1800")))
}

fn bus(message: &str) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Bus, message)
}

fn out_of_range(message: String) -> DeviceError {
    DeviceError::new(DeviceErrorKind::OutOfRange, message)
}

fn bytes(line: &str) -> Option<[u8; 9]> {
    let words = line.split(':').next()?.split_whitespace();
    let bytes: Option<Vec<u8>> = words.map(|word| u8::from_str_radix(word, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// The 1-Wire checksum: x^8 + x^5 + x^4 + 1, bits reflected (Maxim application note 27).
pub(crate) fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x8C } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file of the kernel for a scratchpad, with a right checksum.
    fn file(data: [u8; 8], millidegrees: i32) -> String {
        let crc = crc8(&data);
        let hex: String = data.iter().chain([&crc]).map(|byte| format!("{byte:02x} ")).collect();
        format!("{hex}: crc={crc:02x} YES\n{hex}t={millidegrees}\n")
    }

    fn kind(family: &str, text: &str) -> DeviceErrorKind {
        temperature(family, text).unwrap_err().kind()
    }

    const POWER_ON: [u8; 8] = [0x50, 0x05, 0x4B, 0x46, 0x7F, 0xFF, 0x0C, 0x10];

    #[test]
    fn the_example_of_the_kernel_documentation_is_parsed() {
        let text = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n";

        assert_eq!(temperature("28", text).unwrap(), 23.125);
    }

    #[test]
    fn the_values_of_the_datasheet_are_measured() {
        // DS18B20 datasheet, table 1: +125, +25.0625, +10.125, +0.5, 0, -0.5, -10.125, -25.0625, -55 °C.
        let table: [(u16, f64); 9] = [
            (0x07D0, 125.0),
            (0x0191, 25.0625),
            (0x00A2, 10.125),
            (0x0008, 0.5),
            (0x0000, 0.0),
            (0xFFF8, -0.5),
            (0xFF5E, -10.125),
            (0xFE6F, -25.0625),
            (0xFC90, -55.0),
        ];
        for (raw, celsius) in table {
            let [low, high] = raw.to_le_bytes();
            let data = [low, high, 0x4B, 0x46, 0x7F, 0xFF, 0x10 - (low & 0xF), 0x10];
            #[allow(clippy::cast_possible_truncation)]
            let text = file(data, (celsius * 1000.0) as i32);

            let measured = temperature("28", &text).unwrap();

            assert!((measured - celsius).abs() < 0.001, "{raw:04x}: {measured}");
        }
    }

    #[test]
    fn a_measured_85_degrees_is_distinguished_from_the_value_after_power_on() {
        let with = |change: fn(&mut [u8; 8])| {
            let mut data = POWER_ON;
            change(&mut data);
            file(data, 85_000)
        };

        for family in ["28", "22", "42", "3b"] {
            assert_eq!(kind(family, &file(POWER_ON, 85_000)), DeviceErrorKind::OutOfRange);
            // Other alarm limits, 9 bits.
            assert_eq!(
                kind(family, &with(|data| data[2..5].copy_from_slice(&[0x55, 0, 0x1F]))),
                DeviceErrorKind::OutOfRange
            );
            assert_eq!(temperature(family, &with(|data| data[6] = 0x10)).unwrap(), 85.0);
            assert_eq!(temperature(family, &with(|data| data[6] = 0x00)).unwrap(), 85.0);
        }
        // 0x0C is also byte 6 of a measurement with a fraction of 4/16.
        let mut data = POWER_ON;
        data[0] = 0x54;
        assert_eq!(temperature("28", &file(data, 85_250)).unwrap(), 85.25);
    }

    #[test]
    fn the_half_degrees_of_a_ds18s20_are_no_power_on_value() {
        // DS18S20 datasheet, table 1 and the formula TEMP_READ - 0.25 + (COUNT_PER_C - COUNT_REMAIN) /
        // COUNT_PER_C.
        let data = |raw: u8, remain: u8| [raw, 0, 0x4B, 0x46, 0xFF, 0xFF, remain, 0x10];

        assert_eq!(temperature("10", &file(data(0x32, 0x0C), 25_000)).unwrap(), 25.0);
        assert_eq!(temperature("10", &file(data(0xAA, 0x0B), 85_062)).unwrap(), 85.062);
        let error = temperature("10", &file(data(0xAA, 0x0C), 85_000)).unwrap_err();
        assert_eq!(error.kind(), DeviceErrorKind::OutOfRange);
        assert!(error.to_string().contains("DS18S20"), "{error}");
    }

    #[test]
    fn a_thermocouple_is_read_from_the_scratchpad() {
        let data = |low: u8, high: u8, faults: u8| [low, high, faults, 0x19, 0xF0, 0xFF, 0xFF, 0xFF];
        // The kernel shows the value as that of a DS18B20 with 14 bits: `t` is wrong.
        let celsius = |data| temperature("3b", &file(data, 96_250));

        assert_eq!(celsius(data(0x80, 0x01, 0)).unwrap(), 24.0);
        // 1000 °C, and 24 °C with the reserved bit; -1 °C.
        assert_eq!(celsius(data(0x80, 0x3E, 0)).unwrap(), 1000.0);
        assert_eq!(celsius(data(0x82, 0x01, 0)).unwrap(), 24.0);
        assert_eq!(celsius(data(0xF0, 0xFF, 0)).unwrap(), -1.0);
        let open = celsius(data(0x81, 0x01, 1)).unwrap_err();
        assert!(open.to_string().contains("not connected"), "{open}");
    }

    #[test]
    fn an_invalid_answer_is_an_error() {
        let good = file([0x72, 0x01, 0x4B, 0x46, 0x7F, 0xFF, 0x0E, 0x10], 23_125);
        let zeros = "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n";

        assert_eq!(kind("28", ""), DeviceErrorKind::Bus);
        assert_eq!(kind("28", zeros), DeviceErrorKind::Bus);
        assert_eq!(kind("28", &good.replace("YES", "NO")), DeviceErrorKind::Checksum);
        assert_eq!(kind("28", &good.replacen("72", "73", 1)), DeviceErrorKind::Checksum);
        assert_eq!(kind("28", &good.replace("t=23125", "")), DeviceErrorKind::Bus);
        assert_eq!(kind("28", &good.replace("23125", "99999999999")), DeviceErrorKind::Bus);
        assert_eq!(kind("28", &good.replace("23125", "127937")), DeviceErrorKind::OutOfRange);
        assert_eq!(kind("28", &good.replacen("72 01", "72", 1)), DeviceErrorKind::Bus);
        assert_eq!(kind("28", &good.replacen("72 01", "72 zz", 1)), DeviceErrorKind::Bus);
    }
}
