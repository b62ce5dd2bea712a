//! Conversion of raw ADC values to physical values: the double-precision formulas of the datasheet (BME280
//! section 8.1).
//!
//! The simulated device inverts the *integer* formulas of section 4.2.3, so an error in one set shows as a
//! difference from the other.

/// The factory calibration of one chip (datasheet table 16). The field names are those of the datasheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Calibration {
    pub t1: u16,
    pub t2: i16,
    pub t3: i16,
    pub p1: u16,
    pub p: [i16; 8],
    pub h1: u8,
    pub h2: i16,
    pub h3: u8,
    pub h4: i16,
    pub h5: i16,
    pub h6: i8,
}

impl Calibration {
    /// Decodes the registers `0x88..=0xA1` and `0xE1..=0xE7`. Returns `None` when they cannot be a
    /// calibration, for example when they read as all zeros or all ones.
    #[must_use]
    pub fn from_registers(first: &[u8; 26], second: &[u8; 7]) -> Option<Self> {
        let unsigned = |at: usize| u16::from_le_bytes([first[at], first[at + 1]]);
        let signed = |at: usize| i16::from_le_bytes([first[at], first[at + 1]]);
        let [e1, e2, e3, e4, e5, e6, e7] = *second;
        // H4 and H5 are 12 bits wide and share the nibbles of 0xE5. The upper byte contains the sign.
        let high = |byte: u8| i16::from(byte.cast_signed()) << 4;
        let this = Self {
            t1: unsigned(0),
            t2: signed(2),
            t3: signed(4),
            p1: unsigned(6),
            p: std::array::from_fn(|i| signed(8 + 2 * i)),
            h1: first[25],
            h2: i16::from_le_bytes([e1, e2]),
            h3: e3,
            h4: high(e4) | i16::from(e5 & 0x0F),
            h5: high(e6) | i16::from(e5 >> 4),
            h6: e7.cast_signed(),
        };
        let blank = |word: u16| word == 0 || word == u16::MAX;
        (!blank(this.t1) && !blank(this.p1) && !blank(this.t2.cast_unsigned())).then_some(this)
    }

    /// The fine temperature that the other formulas use: 5,120 per degree Celsius.
    #[must_use]
    pub fn t_fine(&self, raw: u32) -> f64 {
        let (raw, t1) = (f64::from(raw), f64::from(self.t1));
        let linear = (raw / 16384.0 - t1 / 1024.0) * f64::from(self.t2);
        let square = (raw / 131_072.0 - t1 / 8192.0).powi(2) * f64::from(self.t3);
        linear + square
    }

    /// Temperature in degrees Celsius.
    #[must_use]
    pub fn temperature(t_fine: f64) -> f64 {
        t_fine / 5120.0
    }

    /// Pressure in pascal; NaN when the calibration would divide by zero.
    #[must_use]
    pub fn pressure(&self, t_fine: f64, raw: u32) -> f64 {
        let [p2, p3, p4, p5, p6, p7, p8, p9] = self.p.map(f64::from);
        let v1 = t_fine / 2.0 - 64000.0;
        let v2 = v1 * v1 * p6 / 32768.0 + v1 * p5 * 2.0;
        let v2 = v2 / 4.0 + p4 * 65536.0;
        let v1 = (p3 * v1 * v1 / 524_288.0 + p2 * v1) / 524_288.0;
        let v1 = (1.0 + v1 / 32768.0) * f64::from(self.p1);
        if v1 == 0.0 {
            return f64::NAN;
        }
        let p = (1_048_576.0 - f64::from(raw) - v2 / 4096.0) * 6250.0 / v1;
        p + (p9 * p * p / 2_147_483_648.0 + p * p8 / 32768.0 + p7) / 16.0
    }

    /// Relative humidity in per cent. The formula itself clamps to 0 and 100: the chip may overshoot at the
    /// limits of its range.
    #[must_use]
    pub fn humidity(&self, t_fine: f64, raw: u32) -> f64 {
        let h = t_fine - 76800.0;
        let offset = f64::from(self.h4) * 64.0 + f64::from(self.h5) / 16384.0 * h;
        let slope = f64::from(self.h2) / 65536.0
            * (1.0 + f64::from(self.h6) / 67_108_864.0 * h * (1.0 + f64::from(self.h3) / 67_108_864.0 * h));
        let h = (f64::from(raw) - offset) * slope;
        (h * (1.0 - f64::from(self.h1) * h / 524_288.0)).clamp(0.0, 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of BST-BMP280-DS001 section 3.12.
    fn datasheet() -> Calibration {
        Calibration {
            t1: 27504,
            t2: 26435,
            t3: -1000,
            p1: 36477,
            p: [-10685, 3024, 2855, 140, -7, 15500, -14600, 6000],
            h1: 75,
            h2: 370,
            h3: 0,
            h4: 313,
            h5: 50,
            h6: 30,
        }
    }

    #[test]
    fn the_formulas_match_the_example_of_the_datasheet() {
        let calibration = datasheet();

        let t_fine = calibration.t_fine(519_888);
        let pressure = calibration.pressure(t_fine, 415_148);

        assert!((t_fine - 128_422.0).abs() < 1.0, "{t_fine}");
        assert!((Calibration::temperature(t_fine) - 25.08).abs() < 0.005);
        assert!((pressure - 100_653.27).abs() < 0.05, "{pressure}");
    }

    #[test]
    fn shared_nibbles_and_signs_are_decoded_as_in_the_datasheet() {
        let mut first = [1; 26];
        first[25] = 75;
        // H2 = 0x0172, H3 = 0, H4 = -0x123 (0xEDD), H5 = -2 (0xFFE), H6 = -30.
        let second = [0x72, 0x01, 0x00, 0xED, 0xED, 0xFF, 0xE2];

        let calibration = Calibration::from_registers(&first, &second).unwrap();

        assert_eq!((calibration.h1, calibration.h2, calibration.h3), (75, 0x0172, 0));
        assert_eq!((calibration.h4, calibration.h5, calibration.h6), (-0x123, -2, -30));
    }

    #[test]
    fn a_blank_memory_is_no_calibration() {
        for blank in [0x00, 0xFF] {
            assert_eq!(Calibration::from_registers(&[blank; 26], &[blank; 7]), None);
        }
    }
}
