//! A JPEG split into rows of 16 pixels, which can be replaced without encoding the other rows again.
//!
//! With a restart marker after every row of blocks (ITU-T T.81, B.2.1 and E.1.4) each row is decoded
//! independently. A row of another JPEG with the same width, quality and sampling can therefore replace it. A
//! test card in which a fifth of the rows change costs a fifth.

use jpeg_encoder::{ColorType, Encoder, EncodingError, SamplingFactor};

/// The height of a block row in pixels, at 4:2:0 sampling.
pub(super) const ROW_HEIGHT: usize = 16;

/// A JPEG as its header and its block rows.
#[derive(Debug, Clone)]
pub(super) struct McuRows {
    /// All bytes before the first block: start-of-image to start-of-scan.
    header: Vec<u8>,
    rows: Vec<Vec<u8>>,
}

impl McuRows {
    /// Encodes an image with `width` pixels a line, three bytes a pixel (RGB), at a quality of 1 to 100.
    pub fn encode(rgb: &[u8], width: u16, quality: u8) -> Result<Self, EncodingError> {
        let height = u16::try_from(rgb.len() / (3 * usize::from(width).max(1))).unwrap_or(u16::MAX);
        let mut jpeg = Vec::with_capacity(rgb.len() / 12);
        let mut encoder = Encoder::new(&mut jpeg, quality);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        encoder.set_restart_interval(width.div_ceil(16));
        encoder.encode(rgb, width, height, ColorType::Rgb)?;
        Ok(Self::split(&jpeg))
    }

    fn split(jpeg: &[u8]) -> Self {
        // Marker segments follow one another up to the start of the scan (DA).
        let mut at = 2;
        while let Some(&[_, marker, high, low]) = jpeg.get(at..at + 4) {
            at += 2 + usize::from(u16::from_be_bytes([high, low]));
            if marker == 0xDA {
                break;
            }
        }
        let (header, scan) = jpeg.split_at(at.min(jpeg.len()));
        let scan = scan.strip_suffix(&[0xFF, 0xD9]).unwrap_or(scan);
        // In a scan FF precedes a marker, or 00 where it is data.
        let mut rows = Vec::new();
        let mut begin = 0;
        for end in 1..scan.len() {
            if scan[end - 1] == 0xFF && matches!(scan[end], 0xD0..=0xD7) {
                rows.push(scan[begin..end - 1].to_vec());
                begin = end + 1;
            }
        }
        rows.push(scan[begin..].to_vec());
        Self { header: header.to_vec(), rows }
    }

    /// The number of rows.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The JPEG file with its rows from `first` on replaced by the rows of `other`.
    pub fn with(&self, first: usize, other: &Self) -> Vec<u8> {
        let rows = || {
            self.rows.iter().enumerate().map(|(i, own)| {
                i.checked_sub(first).and_then(|j| other.rows.get(j)).unwrap_or(own).as_slice()
            })
        };
        let length = self.header.len() + rows().map(|row| row.len() + 2).sum::<usize>();
        let mut jpeg = Vec::with_capacity(length);
        jpeg.extend_from_slice(&self.header);
        // Restart markers count from 0 to 7 and start again at 0. An end-of-image marker follows the last
        // row.
        for (row, marker) in rows().zip((0xD0..=0xD7).cycle()) {
            jpeg.extend_from_slice(row);
            jpeg.extend_from_slice(&[0xFF, marker]);
        }
        if let Some(last) = jpeg.last_mut() {
            *last = 0xD9;
        }
        jpeg
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zune_jpeg::JpegDecoder;

    use super::*;

    fn decode(jpeg: Vec<u8>) -> Vec<u8> {
        JpegDecoder::new(zune_jpeg::zune_core::bytestream::ZCursor::new(jpeg)).decode().unwrap()
    }

    fn noise(width: usize, height: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        (0..width * height * 3)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_jpeg_with_exchanged_rows_decodes_like_a_newly_encoded_one(
            width in 16_u16..100, rows in 2_usize..20, first in 0_usize..20, taken in 1_usize..4, odd in 0_usize..16, seed: u32,
        ) {
            let w = usize::from(width);
            let height = rows * ROW_HEIGHT - odd;
            let first = first % rows;
            let taken = taken.min((height / ROW_HEIGHT).saturating_sub(first));
            prop_assume!(taken > 0);
            let mut picture = noise(w, height, seed);
            let strip = noise(w, taken * ROW_HEIGHT, !seed);

            let spliced = McuRows::encode(&picture, width, 80).unwrap()
                .with(first, &McuRows::encode(&strip, width, 80).unwrap());
            let begin = first * ROW_HEIGHT * w * 3;
            picture[begin..begin + strip.len()].copy_from_slice(&strip);
            let whole = McuRows::encode(&picture, width, 80).unwrap();

            prop_assert_eq!(whole.len(), rows);
            prop_assert_eq!(&spliced, &whole.with(rows, &whole));
            prop_assert_eq!(decode(spliced).len(), w * height * 3);
        }
    }
}
