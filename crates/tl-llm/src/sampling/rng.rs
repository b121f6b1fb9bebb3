//! The random numbers behind sampling: xoshiro256++ seeded through SplitMix64.
//!
//! The idea: a seed gives the same text on every platform, thread count and version, so the generator is
//! written out here and pinned by its published test vectors instead of coming from a library that may
//! change it. One draw of the sampler takes exactly one number.
//!
//! Sources: Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2021), for xoshiro256++;
//! Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), for SplitMix64.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A xoshiro256++ generator: 256 bits of state, period 2^256 − 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator of `seed`; its four words of state are the first four outputs of SplitMix64 from `seed`.
    pub fn from_seed(seed: u64) -> Self {
        let mut mix = SplitMix64(seed);
        Rng { state: [mix.next(), mix.next(), mix.next(), mix.next()] }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let t = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= t;
        *s3 = s3.rotate_left(45);
        result
    }

    /// A number uniform in [0, 1): the upper 53 bits of [`Rng::next_u64`] times 2^−53, so every value is exact.
    pub fn next_unit(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        (self.next_u64() >> 11) as f64 * SCALE
    }
}

/// A seed that differs from run to run, for when the person gave none.
pub fn random_seed() -> u64 {
    // The standard library keys each hasher from the system's entropy; an empty hash under such a key is a
    // random word, and costs no dependency.
    RandomState::new().build_hasher().finish()
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_gives_its_published_numbers() {
        let mut mix = SplitMix64(1234567);
        let got: Vec<u64> = (0..5).map(|_| mix.next()).collect();
        assert_eq!(
            got,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423,
                4593380528125082431,
                16408922859458223821
            ]
        );
    }

    #[test]
    fn xoshiro_gives_its_published_numbers() {
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let got: Vec<u64> = (0..10).map(|_| rng.next_u64()).collect();
        assert_eq!(
            got,
            [
                41943041,
                58720359,
                3588806011781223,
                3591011842654386,
                9228616714210784205,
                9973669472204895162,
                14011001112246962877,
                12406186145184390807,
                15849039046786891736,
                10450023813501588000
            ]
        );
    }

    #[test]
    fn a_unit_number_is_the_upper_53_bits() {
        let mut bits = Rng::from_seed(7);
        let mut units = bits.clone();
        for _ in 0..1000 {
            let unit = units.next_unit();
            assert_eq!(unit * (1u64 << 53) as f64, (bits.next_u64() >> 11) as f64);
            assert!((0.0..1.0).contains(&unit));
        }
    }

    #[test]
    fn a_seed_is_pinned_for_good() {
        // Changing these numbers changes what every saved seed says: they are part of the interface.
        let mut rng = Rng::from_seed(42);
        let got: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(got, [15021278609987233951, 5881210131331364753, 18149643915985481100]);
    }
}
