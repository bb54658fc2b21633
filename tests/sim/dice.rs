//! Chance, all of it from one number.

/// A splitmix64 generator: tiny, fast, and good enough to stir a storm.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own, so that what one party draws does not shift another's.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound` (at least 1). The bias of the multiplication is below what a storm could notice.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `n` times; never for 0.
    pub fn one_in(&mut self, n: u32) -> bool {
        n != 0 && self.below(u64::from(n)) == 0
    }

    /// A coin.
    pub fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// A number from `low` (at least 1) to `high` with every order of magnitude equally likely: tiny and huge values
    /// find different bugs.
    pub fn spread(&mut self, low: u64, high: u64) -> u64 {
        let ratio = high as f64 / low as f64;
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((low as f64 * ratio.powf(share)) as u64).clamp(low, high)
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
