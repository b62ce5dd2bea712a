//! Encodes the frames of a camera without JPEG: YUYV, 4:2:2, two pixels in four bytes.
//!
//! The planes are passed to mozjpeg unchanged, in its simplest and fastest mode (that of libjpeg-turbo),
//! without colour conversion or further subsampling. The choice of the encoder: docs/design/0017.

use std::{io, panic};

use mozjpeg::{ColorSpace, Compress};

/// Good enough for live video, and a third of the size at 95.
const QUALITY: f32 = 80.0;
/// The side of a block in pixels.
const BLOCK: usize = 8;

/// A YUYV image as the camera sends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yuyv<'a> {
    pub bytes: &'a [u8],
    /// Bytes from the start of a line to the start of the next.
    pub stride: usize,
    /// Width in pixels.
    pub width: usize,
    pub height: usize,
}

/// Encodes an image as JPEG.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when there are too few bytes, or the encoder does not support the size.
pub(super) fn encode(picture: &Yuyv<'_>) -> io::Result<Vec<u8>> {
    let Yuyv { bytes, stride, width, height } = *picture;
    let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let line = width.div_ceil(2) * 4;
    // The last line of a camera may lack its padding.
    if width == 0 || height == 0 || stride < line || bytes.len() < stride * (height - 1) + line {
        return Err(invalid("too few bytes for a picture"));
    }
    let planes = Planes::new(picture);
    // mozjpeg unwinds when its C code fails, for example with more than 65,535 pixels a side.
    let encoded = panic::catch_unwind(|| {
        let mut compress = Compress::new(ColorSpace::JCS_YCbCr);
        compress.set_size(width, height);
        compress.set_fastest_defaults();
        compress.set_optimize_coding(false);
        compress.set_quality(QUALITY);
        compress.set_chroma_sampling_pixel_sizes((2, 1), (2, 1));
        compress.set_raw_data_in(true);
        let mut started = compress.start_compress(Vec::with_capacity(bytes.len() / 8))?;
        if !started.write_raw_data(&[&planes.luma, &planes.blue, &planes.red]) {
            return Err(io::Error::other("the encoder stopped"));
        }
        started.finish()
    });
    encoded.unwrap_or_else(|_| Err(invalid("the encoder gave up")))
}

/// One plane per component, padded to whole blocks with the pixels at its edge.
struct Planes {
    luma: Vec<u8>,
    blue: Vec<u8>,
    red: Vec<u8>,
}

impl Planes {
    fn new(picture: &Yuyv<'_>) -> Self {
        let Yuyv { bytes, stride, width, height } = *picture;
        let pairs = width.div_ceil(2);
        let wide = width.next_multiple_of(BLOCK);
        let narrow = pairs.next_multiple_of(BLOCK);
        let high = height.next_multiple_of(BLOCK);
        let mut planes =
            Self { luma: vec![0; wide * high], blue: vec![0; narrow * high], red: vec![0; narrow * high] };
        let lines = planes
            .luma
            .chunks_exact_mut(wide)
            .zip(planes.blue.chunks_exact_mut(narrow).zip(planes.red.chunks_exact_mut(narrow)));
        for (y, (luma, (blue, red))) in lines.enumerate() {
            let line = &bytes[y.min(height - 1) * stride..][..pairs * 4];
            let pixels = line.as_chunks::<4>().0;
            for ((pair, blue), red) in pixels.iter().zip(blue.iter_mut()).zip(red.iter_mut()) {
                *blue = pair[1];
                *red = pair[3];
            }
            for (pair, luma) in pixels.iter().zip(luma.as_chunks_mut::<2>().0) {
                *luma = [pair[0], pair[2]];
            }
            for (plane, filled) in [(luma, width), (blue, pairs), (red, pairs)] {
                let edge = plane[filled - 1];
                plane[filled..].fill(edge);
            }
        }
        planes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zune_jpeg::{JpegDecoder, zune_core::bytestream::ZCursor};

    use super::*;

    fn decode(jpeg: Vec<u8>) -> (Vec<u8>, (usize, usize)) {
        let mut decoder = JpegDecoder::new(ZCursor::new(jpeg));
        let pixels = decoder.decode().unwrap();
        (pixels, decoder.dimensions().unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_red_image_stays_red_for_every_size_and_stride(
            width in 1_usize..70, height in 1_usize..70, more in 0_usize..9,
        ) {
            // BT.601 full range: red is Y 76, Cb 85, Cr 255. The padding of a line has a different colour.
            let mut line = [76, 85, 76, 255].repeat(width.div_ceil(2));
            line.extend(vec![0; more]);
            let picture = Yuyv { bytes: &line.repeat(height), stride: line.len(), width, height };

            let (pixels, size) = decode(encode(&picture).unwrap());

            prop_assert_eq!(size, (width, height));
            prop_assert!(pixels.chunks_exact(3).all(|p| p[0] > 235 && p[1] < 20 && p[2] < 20), "{:?}", &pixels[..3]);
        }
    }

    #[test]
    fn each_half_of_an_image_keeps_its_colour() {
        // Left black, right white; top bluish, bottom reddish.
        let (width, height) = (64, 32);
        let mut bytes = Vec::new();
        for y in 0..height {
            for x in 0..width / 2 {
                let luma = if x < width / 4 { 60 } else { 180 };
                let (blue, red) = if y < height / 2 { (200, 110) } else { (110, 200) };
                bytes.extend([luma, blue, luma, red]);
            }
        }

        let (pixels, _) = decode(encode(&Yuyv { bytes: &bytes, stride: width * 2, width, height }).unwrap());

        let at = |x: usize, y: usize| <[u8; 3]>::try_from(&pixels[(y * width + x) * 3..][..3]).unwrap();
        let bright = |p: [u8; 3]| p.iter().map(|&c| u32::from(c)).sum::<u32>();
        assert!(bright(at(4, 4)) + 200 < bright(at(60, 4)));
        assert!(
            at(4, 4)[2] > at(4, 4)[0] + 60 && at(60, 28)[0] > at(60, 28)[2] + 50,
            "{:?} {:?}",
            at(4, 4),
            at(60, 28)
        );
    }

    #[test]
    fn too_few_bytes_are_refused() {
        for (length, width, height) in [(100, 32, 16), (32 * 2 * 16 - 1, 32, 16), (0, 0, 0), (64, 0, 1)] {
            let picture = Yuyv { bytes: &vec![0; length], stride: 64, width, height };

            assert_eq!(encode(&picture).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
