//! The checksum of Sensirion's and Aosong's chips.

use iotpi_core::{DeviceError, DeviceErrorKind};

/// CRC-8 with polynomial 0x31 and initial value 0xFF (CRC-8/NRSC-5).
pub(crate) fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0xFF, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x31 })
    })
}

/// Words of two bytes, most significant first, each followed by its checksum.
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> Result<[u16; N], DeviceError> {
    let mut words = [0; N];
    for (word, part) in words.iter_mut().zip(bytes.chunks_exact(3)) {
        if crc8(&part[..2]) != part[2] {
            return Err(wrong_checksum());
        }
        *word = u16::from_be_bytes([part[0], part[1]]);
    }
    Ok(words)
}

pub(crate) fn wrong_checksum() -> DeviceError {
    DeviceError::new(DeviceErrorKind::Checksum, "the answer was corrupted on the bus: shorter wires")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_example_of_the_datasheets() {
        // SHT3x-DIS, section 4.12; SCD4x, section 3.11.
        assert_eq!(crc8(&[0xBE, 0xEF]), 0x92);
    }

    #[test]
    fn a_wrong_checksum_is_an_error() {
        assert_eq!(words(&[0xBE, 0xEF, 0x92]).unwrap(), [0xBEEF]);
        assert_eq!(words::<1>(&[0xBE, 0xEE, 0x92]).unwrap_err().kind(), DeviceErrorKind::Checksum);
    }
}
