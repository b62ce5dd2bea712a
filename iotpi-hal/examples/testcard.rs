//! Paints test cards, writes the last one to a file and prints the time each one takes: `cargo run --release
//! -p iotpi-hal --example testcard -- testcard.jpg`.

use std::{error::Error, fs, time::Instant};

use iotpi_core::{CameraSpec, SystemClock};
use iotpi_hal::camera::testcard::TestCard;

const COUNT: u32 = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "testcard.jpg".to_owned());
    let clock = SystemClock::shared();
    for (width, height) in [(1280, 720), (640, 480)] {
        let mut card = TestCard::new(CameraSpec::new(width, height, 12.0), clock.clone())?;
        let mut frame = card.paint(clock.now())?;
        let begin = Instant::now();
        for _ in 0..COUNT {
            frame = card.paint(clock.now())?;
        }
        let bytes = frame.jpeg().len();
        println!("{width} x {height}: {:?} a frame, {bytes} bytes", begin.elapsed() / COUNT);
        fs::write(&file, frame.jpeg())?;
    }
    Ok(())
}
