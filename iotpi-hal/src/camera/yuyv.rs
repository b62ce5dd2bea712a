//! Encoding what a camera sends that does not speak JPEG: YUYV, 4:2:2, two pixels in four bytes.

use jpeg_encoder::{Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor};

/// Good enough for a camera that is watched, and a third of the size of 95.
const QUALITY: u8 = 80;

/// Lines of YUYV as the encoder wants them: already in its colour space, so nothing is converted.
struct Yuyv<'a> {
    bytes: &'a [u8],
    width: u16,
    height: u16,
}

/// Encodes a picture; `None` when there are too few bytes for it.
pub(super) fn encode(bytes: &[u8], width: u16, height: u16) -> Option<Result<Vec<u8>, EncodingError>> {
    let needed = usize::from(width).div_ceil(2) * 4 * usize::from(height);
    if bytes.len() < needed || needed == 0 {
        return None;
    }
    let mut jpeg = Vec::with_capacity(needed / 8);
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_2);
    let encoded = encoder.encode_image(Yuyv { bytes, width, height });
    Some(encoded.map(|()| jpeg))
}

impl ImageBuffer for Yuyv<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let width = usize::from(self.width);
        let stride = width.div_ceil(2) * 4;
        let line = &self.bytes[usize::from(y) * stride..][..stride];
        let [luma, blue, red, _] = buffers;
        for (i, pair) in line.chunks_exact(4).enumerate() {
            let count = (width - 2 * i).min(2);
            luma.extend([pair[0], pair[2]].into_iter().take(count));
            blue.extend(std::iter::repeat_n(pair[1], count));
            red.extend(std::iter::repeat_n(pair[3], count));
        }
    }
}

#[cfg(test)]
mod tests {
    use zune_jpeg::{JpegDecoder, zune_core::bytestream::ZCursor};

    use super::*;

    #[test]
    fn a_red_picture_stays_red() {
        // BT.601 full range: red is Y 76, Cb 85, Cr 255.
        let bytes = [76, 85, 76, 255].repeat(16 * 16);

        let jpeg = encode(&bytes, 32, 16).unwrap().unwrap();

        let pixels = JpegDecoder::new(ZCursor::new(jpeg)).decode().unwrap();
        assert_eq!(pixels.len(), 32 * 16 * 3);
        assert!(pixels.chunks_exact(3).all(|p| p[0] > 240 && p[1] < 15 && p[2] < 15), "{:?}", &pixels[..3]);
    }

    #[test]
    fn too_few_bytes_are_no_picture() {
        assert!(encode(&[0; 100], 32, 16).is_none());
    }
}
