//! The time that JPEG encoders take for a YUYV image: the candidates for `iotpi-hal` (docs/design/0017).
//! Features select the encoders: see README.md. It only reports.

use std::time::Instant;

const QUALITY: u8 = 80;
const ROUNDS: usize = 15;

fn main() {
    for (width, height) in [(640, 480), (1280, 720)] {
        let image = image(width, height);
        for (name, encode) in encoders() {
            let size = encode(&image, width, height).len();
            let each = if width > 1000 { 20 } else { 60 };
            let mut times: Vec<f64> = (0..ROUNDS)
                .map(|_| {
                    let started = Instant::now();
                    for _ in 0..each {
                        std::hint::black_box(encode(std::hint::black_box(&image), width, height));
                    }
                    started.elapsed().as_secs_f64() * 1e3 / f64::from(each)
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!(
                "{width}x{height}  {name:24} {:7.2} ms (best {:.2}), {size} bytes",
                times[ROUNDS / 2],
                times[0]
            );
        }
    }
}

type Encode = fn(&[u8], usize, usize) -> Vec<u8>;

fn encoders() -> Vec<(&'static str, Encode)> {
    let name = if cfg!(feature = "simd") { "jpeg-encoder, simd" } else { "jpeg-encoder" };
    vec![
        (name, jpeg_encoder::encode as Encode),
        #[cfg(feature = "mozjpeg")]
        ("mozjpeg, fastest", moz::encode),
        #[cfg(feature = "turbojpeg")]
        ("turbojpeg", turbo::encode),
    ]
}

/// An image like that of a room: soft shades, edges, and the noise of a small sensor.
fn image(width: usize, height: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 29) as i32 - 4
    };
    let mut bytes = Vec::with_capacity(width * height * 2);
    for y in 0..height {
        for x in (0..width).step_by(2) {
            let mut luma = |x: usize| {
                let shade = 110.0 + 60.0 * (x as f64 / 97.0).sin() * (y as f64 / 61.0).cos();
                let edge = if (x / 40 + y / 56) % 3 == 0 { 30 } else { 0 };
                (shade as i32 + edge + noise()).clamp(0, 255) as u8
            };
            let (first, second) = (luma(x), luma(x + 1));
            let blue = (128.0 + 40.0 * (y as f64 / 130.0).sin()) as u8;
            let red = (128.0 + 40.0 * (x as f64 / 150.0).cos()) as u8;
            bytes.extend([first, blue, second, red]);
        }
    }
    bytes
}

mod jpeg_encoder {
    use jpeg_encoder as library;
    use library::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};

    struct Yuyv<'a>(&'a [u8], u16, u16);

    impl ImageBuffer for Yuyv<'_> {
        fn get_jpeg_color_type(&self) -> JpegColorType {
            JpegColorType::Ycbcr
        }

        fn width(&self) -> u16 {
            self.1
        }

        fn height(&self) -> u16 {
            self.2
        }

        fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
            let stride = usize::from(self.1) * 2;
            let [luma, blue, red, _] = buffers;
            for pair in self.0[usize::from(y) * stride..][..stride].as_chunks::<4>().0 {
                luma.extend([pair[0], pair[2]]);
                blue.extend([pair[1]; 2]);
                red.extend([pair[3]; 2]);
            }
        }
    }

    pub fn encode(yuyv: &[u8], width: usize, height: usize) -> Vec<u8> {
        let mut jpeg = Vec::with_capacity(yuyv.len() / 8);
        let mut encoder = Encoder::new(&mut jpeg, super::QUALITY);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_2);
        encoder.encode_image(Yuyv(yuyv, width as u16, height as u16)).unwrap();
        jpeg
    }
}

/// Converts YUYV to planes.
#[cfg(any(feature = "mozjpeg", feature = "turbojpeg"))]
fn planes(yuyv: &[u8]) -> Vec<u8> {
    let pairs = yuyv.len() / 4;
    let mut planes = vec![0; pairs * 4];
    let (luma, chroma) = planes.split_at_mut(pairs * 2);
    let (blue, red) = chroma.split_at_mut(pairs);
    for (((pair, luma), blue), red) in
        yuyv.as_chunks::<4>().0.iter().zip(luma.as_chunks_mut::<2>().0).zip(blue).zip(red)
    {
        *luma = [pair[0], pair[2]];
        *blue = pair[1];
        *red = pair[3];
    }
    planes
}

#[cfg(feature = "mozjpeg")]
mod moz {
    use mozjpeg::{ColorSpace, Compress};

    pub fn encode(yuyv: &[u8], width: usize, height: usize) -> Vec<u8> {
        let planes = super::planes(yuyv);
        let (luma, chroma) = planes.split_at(width * height);
        let (blue, red) = chroma.split_at(width * height / 2);
        let mut compress = Compress::new(ColorSpace::JCS_YCbCr);
        compress.set_size(width, height);
        compress.set_fastest_defaults();
        compress.set_optimize_coding(false);
        compress.set_quality(f32::from(super::QUALITY));
        compress.set_chroma_sampling_pixel_sizes((2, 1), (2, 1));
        compress.set_raw_data_in(true);
        let mut started = compress.start_compress(Vec::with_capacity(yuyv.len() / 8)).unwrap();
        assert!(started.write_raw_data(&[luma, blue, red]));
        started.finish().unwrap()
    }
}

#[cfg(feature = "turbojpeg")]
mod turbo {
    use turbojpeg::{Compressor, Subsamp, YuvImage};

    pub fn encode(yuyv: &[u8], width: usize, height: usize) -> Vec<u8> {
        let planes = super::planes(yuyv);
        let mut compressor = Compressor::new().unwrap();
        compressor.set_quality(super::QUALITY.into()).unwrap();
        let image = YuvImage { pixels: &planes[..], width, align: 1, height, subsamp: Subsamp::Sub2x1 };
        compressor.compress_yuv_to_vec(image).unwrap()
    }
}
