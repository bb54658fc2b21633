//! One connection's header blocks: any bytes, any lengths, with limits acknowledged in between.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plasma::wire::h2::hpack::{Decoder, Fields};

fuzz_target!(|input: &[u8]| run(input));

/// Reads `input` as steps: a byte of which one bit chooses a new limit and the others a block's length, then that.
fn run(mut input: &[u8]) {
    let (mut decoder, mut fields) = (Decoder::new(), Fields::default());
    while let Some((first, rest)) = input.split_first() {
        input = rest;
        if *first >= 0x80 {
            decoder.set_limit(u32::from(first & 0x7f) * 64);
            continue;
        }
        // Small lists and large ones: both sides of the limit matter.
        let list_len_max = if first % 2 == 0 { 100 } else { 16 * 1024 };
        let (block, rest) = input.split_at(input.len().min(usize::from(*first) * 4));
        input = rest;
        let outcome = decoder.decode(block, list_len_max, &mut fields);
        check(&fields, list_len_max);
        if outcome.is_err() {
            assert!(fields.is_empty() && fields.list_len() == 0);
            return;
        }
    }
}

fn check(fields: &Fields, list_len_max: usize) {
    let kept_len: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    assert!(kept_len <= list_len_max, "{kept_len} bytes kept of {list_len_max}");
    assert_eq!(fields.iter().len(), fields.len());
    assert_eq!(fields.is_too_large(), fields.list_len() > list_len_max);
    assert_eq!(fields.is_too_large(), kept_len < fields.list_len());
}
