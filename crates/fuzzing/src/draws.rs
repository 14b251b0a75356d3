//! Bytes as a sequence of choices, so that a fuzzer that changes a byte changes a choice.

/// The bytes that were not used yet. All choices are the first ones when none are left.
pub(crate) struct Draws<'a>(&'a [u8]);

impl<'a> Draws<'a> {
    pub fn new(bytes: &'a [u8]) -> Draws<'a> {
        Draws(bytes)
    }

    /// Whether nothing is left.
    pub fn spent(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number below `count`, which is at most 256 and not 0.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    pub fn coin(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A number that a tensor's many elements come from: 64 bits of eight draws.
    pub fn seed(&mut self) -> u64 {
        (0..2).fold(1, |seed, _| seed << 8 | u64::from(self.byte()))
    }
}

/// Elements of tensors: a multiplicative generator, enough to vary them.
pub(crate) struct Elements(pub u64);

impl Elements {
    /// An integer between the bounds, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + ((self.0 >> 33) % (high - low + 1).unsigned_abs()) as i64
    }
}
