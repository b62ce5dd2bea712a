//! The compensation of a BME680 in floating point (datasheet section 3.3).

/// The calibration of one chip, from its memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Calibration {
    t: [f64; 3],
    p: [f64; 10],
    h: [f64; 7],
    g: [f64; 3],
    heater_range: f64,
    heater_value: f64,
    range_error: f64,
}

impl Calibration {
    /// The registers from `0x8A`, from `0xE1` and from `0x00` (section 5.2, tables 11 to 16).
    pub(crate) fn from_registers(one: &[u8; 23], two: &[u8; 14], heater: &[u8; 5]) -> Self {
        let unsigned = |low: u8, high: u8| f64::from(u16::from_le_bytes([low, high]));
        let signed = |low: u8, high: u8| f64::from(i16::from_le_bytes([low, high]));
        let byte = |byte: u8| f64::from(byte.cast_signed());
        let h1 = u16::from(two[2]) << 4 | u16::from(two[1]) & 0x0F;
        let h2 = u16::from(two[0]) << 4 | u16::from(two[1]) >> 4;
        Self {
            t: [unsigned(two[8], two[9]), signed(one[0], one[1]), byte(one[2])],
            p: [
                unsigned(one[4], one[5]),
                signed(one[6], one[7]),
                byte(one[8]),
                signed(one[10], one[11]),
                signed(one[12], one[13]),
                byte(one[15]),
                byte(one[14]),
                signed(one[18], one[19]),
                signed(one[20], one[21]),
                f64::from(one[22]),
            ],
            h: [
                f64::from(h1),
                f64::from(h2),
                byte(two[3]),
                byte(two[4]),
                byte(two[5]),
                f64::from(two[6]),
                byte(two[7]),
            ],
            g: [byte(two[12]), signed(two[10], two[11]), byte(two[13])],
            heater_range: f64::from(heater[2] >> 4 & 0b11),
            heater_value: byte(heater[0]),
            range_error: f64::from(heater[4].cast_signed() >> 4),
        }
    }

    /// The temperature in 5120ths of a degree Celsius.
    pub(crate) fn t_fine(&self, raw: u32) -> f64 {
        let [t1, t2, t3] = self.t;
        let raw = f64::from(raw);
        let offset = raw / 131_072.0 - t1 / 8192.0;
        (raw / 16_384.0 - t1 / 1024.0) * t2 + offset * offset * t3 * 16.0
    }

    /// Pressure in pascal.
    pub(crate) fn pressure(&self, t_fine: f64, raw: u32) -> f64 {
        let [p1, p2, p3, p4, p5, p6, p7, p8, p9, p10] = self.p;
        let var1 = t_fine / 2.0 - 64_000.0;
        let var2 = var1 * var1 * p6 / 131_072.0 + var1 * p5 * 2.0;
        let var2 = var2 / 4.0 + p4 * 65_536.0;
        let var1 = (p3 * var1 * var1 / 16_384.0 + p2 * var1) / 524_288.0;
        let var1 = (1.0 + var1 / 32_768.0) * p1;
        let p = (1_048_576.0 - f64::from(raw) - var2 / 4096.0) * 6250.0 / var1;
        let var1 = p9 * p * p / 2_147_483_648.0;
        let var2 = p * p8 / 32_768.0;
        let var3 = (p / 256.0).powi(3) * p10 / 131_072.0;
        p + (var1 + var2 + var3 + p7 * 128.0) / 16.0
    }

    /// Relative humidity in per cent.
    pub(crate) fn humidity(&self, t_fine: f64, raw: u32) -> f64 {
        let [h1, h2, h3, h4, h5, h6, h7] = self.h;
        let celsius = t_fine / 5120.0;
        let var1 = f64::from(raw) - (h1 * 16.0 + h3 / 2.0 * celsius);
        let slope = 1.0 + h4 / 16_384.0 * celsius + h5 / 1_048_576.0 * celsius * celsius;
        let var2 = var1 * h2 / 262_144.0 * slope;
        var2 + (h6 / 16_384.0 + h7 / 2_097_152.0 * celsius) * var2 * var2
    }

    /// The register value for a temperature of the heater, at this temperature of the air (section 3.3.5).
    pub(crate) fn heater_resistance(&self, celsius: f64, ambient: f64) -> u8 {
        let [g1, g2, g3] = self.g;
        let slope = 1.0 + (g2 / 32_768.0 * 0.0005 + 0.002_35) * celsius;
        let ohms = (g1 / 16.0 + 49.0) * slope + g3 / 1024.0 * ambient;
        let range = 4.0 / (4.0 + self.heater_range) / (1.0 + self.heater_value * 0.002);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let register = (3.4 * (ohms * range - 25.0)).clamp(0.0, 255.0) as u8;
        register
    }

    /// The gas resistance of a BME680 in ohms, by the value of the converter and its range (section 3.4.1).
    pub(crate) fn gas_bme680(&self, raw: u16, range: u8) -> f64 {
        const RAW_FACTORS: [f64; 16] =
            [0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, -0.8, 0.0, 0.0, -0.2, -0.5, 0.0, -1.0, 0.0, 0.0];
        const RANGE_FACTORS: [f64; 16] =
            [0.0, 0.0, 0.0, 0.0, 0.1, 0.7, 0.0, -0.8, -0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let index = usize::from(range & 0x0F);
        let var1 = (1340.0 + 5.0 * self.range_error) * (1.0 + RAW_FACTORS[index] / 100.0);
        let var2 = 1.0 + RANGE_FACTORS[index] / 100.0;
        let gain = f64::from(1_u32 << index);
        1.0 / (var2 * 0.000_000_125 * gain * ((f64::from(raw) - 512.0) / var1 + 1.0))
    }
}

/// The gas resistance of a BME688 in ohms (its datasheet, section 3.3.4).
pub(crate) fn gas_bme688(raw: u16, range: u8) -> f64 {
    1e6 * f64::from(262_144_u32 >> range) / (4096.0 + 3.0 * (f64::from(raw) - 512.0))
}
