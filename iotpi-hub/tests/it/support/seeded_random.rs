//! A seeded random number generator. The tests of the programs use it too.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    env,
    hash::{BuildHasher, Hasher, RandomState},
};

/// SplitMix64 (Steele, Lea, Flood 2014), which accepts any seed.
#[derive(Debug, Clone)]
pub struct SeededRandom(u64);

impl SeededRandom {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end - 1`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// An index of a list of that length.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    /// True with a probability of 1 in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A random element.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        (!of.is_empty()).then(|| &of[self.index(of.len())])
    }
}

/// A pseudo-random number from 1 to 2. Equal or consecutive values would be compressed to almost nothing.
pub fn noise(n: u64) -> f64 {
    f64::from_bits(0x3FF0_0000_0000_0000 | (SeededRandom::new(n).number() >> 12))
}

/// Whether the tests run at full size: `make torture`.
pub fn torture() -> bool {
    env::var_os("IOTPI_TORTURE").is_some_and(|value| value == "1")
}

/// The seeds of a random test: only `IOTPI_SEED`, if it is set. Otherwise there are `few`, or `many` under
/// torture, and the first one is random, unless `IOTPI_SEEDS_FROM` sets it.
pub fn seeds(few: u64, many: u64) -> impl Iterator<Item = u64> {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("a seed is a number"));
    let (from, count) = match (number("IOTPI_SEED"), number("IOTPI_CASES")) {
        (Some(seed), _) => (seed, 1),
        (None, cases) => {
            let count = cases.unwrap_or(if torture() { many } else { few });
            let fresh = RandomState::new().build_hasher().finish() % 1_000_000_000;
            (number("IOTPI_SEEDS_FROM").unwrap_or(fresh), count)
        }
    };
    from..from + count
}

/// On a panic, prints the seed and the command that repeats the test.
pub struct PrintSeedOnPanic {
    pub test: &'static str,
    pub seed: u64,
}

impl Drop for PrintSeedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "\nseed {0}; again: IOTPI_SEED={0} cargo test --package {1} --test it {2}\n",
                self.seed,
                env!("CARGO_PKG_NAME"),
                self.test
            );
        }
    }
}
