//! CRC-32, the checksum of the files of an outbox.

/// The polynomial of Ethernet, zlib and PNG, reflected (ISO/IEC 8802-3; RFC 1952, section 8).
const POLYNOMIAL: u32 = 0xEDB8_8320;
const TABLE: [u32; 256] = table();

#[allow(clippy::cast_possible_truncation)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut entry = index as u32;
        let mut bit = 0;
        while bit < 8 {
            entry = if entry & 1 == 1 { entry >> 1 ^ POLYNOMIAL } else { entry >> 1 };
            bit += 1;
        }
        table[index] = entry;
        index += 1;
    }
    table
}

/// The checksum of these bytes.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)] ^ (sum >> 8);
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(&[0xFF; 32]), 0xFF6C_AB0B);
    }
}
