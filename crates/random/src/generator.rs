//! The generator: xoshiro256++ over a state expanded by SplitMix64 from a seed and a stream name.

/// xoshiro256++ 1.0 of Blackman and Vigna ("Scrambled Linear Pseudorandom Number Generators",
/// 2021; <https://prng.di.unimi.it>), with a period of 2^256 - 1. Not for cryptography.
///
/// Cloning copies the position: both go on with the same numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The generator of `stream` under `seed`, at its start.
    ///
    /// The state is the first four outputs of SplitMix64 started at
    /// `splitmix64(seed) ^ fnv1a64(stream)`, where `splitmix64(seed)` is the first output for that
    /// seed and the name is hashed as its UTF-8 bytes.
    pub fn new(seed: u64, stream: &str) -> Self {
        let mut position = seed;
        let mut key = split_mix(&mut position) ^ fnv1a(stream.as_bytes());
        Random { state: std::array::from_fn(|_| split_mix(&mut key)) }
    }

    /// The next 64 bits, all of them equally good.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let output = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let c = c ^ a;
        let d = d ^ b;
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        output
    }
}

/// The output number `index`, counted from 0, of SplitMix64 started at `start`: numbers that can be drawn in any order,
/// and in any language in a few lines.
pub fn split_mix_output(start: u64, index: u64) -> u64 {
    split_mix(&mut start.wrapping_add(index.wrapping_mul(GOLDEN)))
}

/// What SplitMix64 adds to its position at each step: 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of SplitMix64 (Steele, Lea and Flood, 2014): moves `position` and returns the output.
fn split_mix(position: &mut u64) -> u64 {
    *position = position.wrapping_add(GOLDEN);
    let mixed = (*position ^ (*position >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The 64-bit FNV-1a hash (<http://www.isthe.com/chongo/tech/comp/fnv/>).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_gives_the_published_outputs() {
        // Rosetta Code, "Pseudo-random numbers/Splitmix64".
        let mut position = 1_234_567;
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        for (index, value) in (0..).zip(expected) {
            assert_eq!(split_mix(&mut position), value);
            assert_eq!(split_mix_output(1_234_567, index), value);
        }
    }

    #[test]
    fn xoshiro_gives_the_outputs_of_the_reference_implementation() {
        // The authors' C program from the state 1, 2, 3, 4.
        let mut random = Random { state: [1, 2, 3, 4] };
        let expected = [
            41_943_041,
            58_720_359,
            3_588_806_011_781_223,
            3_591_011_842_654_386,
            9_228_616_714_210_784_205,
            9_973_669_472_204_895_162,
            14_011_001_112_246_962_877,
            12_406_186_145_184_390_807,
            15_849_039_046_786_891_736,
            10_450_023_813_501_588_000,
        ];
        for value in expected {
            assert_eq!(random.next_u64(), value);
        }
    }

    #[test]
    fn fnv1a_gives_the_published_hashes() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn seed_and_stream_both_choose_the_numbers() {
        let first = |seed, stream| Random::new(seed, stream).next_u64();
        assert_eq!(first(1, "shuffle"), first(1, "shuffle"));
        assert_ne!(first(1, "shuffle"), first(2, "shuffle"));
        assert_ne!(first(1, "shuffle"), first(1, "augment"));
    }
}
