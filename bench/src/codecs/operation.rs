//! One thing that a codec does, to be done again and again.

/// What is measured: a small function with its input.
pub struct Operation {
    /// Subject and case, with a slash between them.
    pub name: &'static str,
    /// Bytes that it reads, or writes where it only writes.
    pub len: usize,
    repeat: Box<dyn FnMut(u64)>,
}

impl Operation {
    /// An operation that does `once`. Results do not reach anybody; each function hides its own from the compiler.
    pub fn new(name: &'static str, len: usize, mut once: impl FnMut() + 'static) -> Self {
        // The loop is inside of the box: an operation pays for no indirect call.
        let repeat = move |count| {
            for _ in 0..count {
                once();
            }
        };
        Self { name, len, repeat: Box::new(repeat) }
    }

    /// Does it `count` times.
    pub fn repeat(&mut self, count: u64) {
        (self.repeat)(count);
    }
}
