//! Our header compression against nghttp2's: each reads what the other writes, and both judge the same bytes.

use std::ptr::{self, NonNull};

use libnghttp2_sys as nghttp2;
use plasma::wire::h2::hpack::{Decoder, Fields, Malformed, encode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const NO_LIMIT: usize = 1 << 20;

/// Table of a connection before any SETTINGS.
const TABLE_LEN: u32 = 4096;

type Field = (Vec<u8>, Vec<u8>);

/// nghttp2's encoder.
struct Deflater(NonNull<nghttp2::nghttp2_hd_deflater>);

impl Deflater {
    /// A new connection whose encoder uses a table of at most `size_max` bytes.
    fn new(size_max: usize) -> Self {
        let mut deflater = ptr::null_mut();
        // SAFETY: the pointer to write to is valid.
        let outcome = unsafe { nghttp2::nghttp2_hd_deflate_new(&mut deflater, size_max) };
        assert_eq!(outcome, 0);
        Self(NonNull::new(deflater).expect("a deflater"))
    }

    /// The other side's SETTINGS_HEADER_TABLE_SIZE arrived.
    fn set_limit(&mut self, limit: u32) {
        // SAFETY: the deflater lives as long as `self`.
        let outcome = unsafe { nghttp2::nghttp2_hd_deflate_change_table_size(self.0.as_ptr(), limit as usize) };
        assert_eq!(outcome, 0);
    }

    fn encode(&mut self, list: &[(Field, bool)]) -> Vec<u8> {
        let pairs: Vec<_> = list.iter().map(|((name, value), is_secret)| pair(name, value, *is_secret)).collect();
        // SAFETY: the deflater lives as long as `self`, the pairs point into `list`; nghttp2 only reads them.
        unsafe {
            let bound = nghttp2::nghttp2_hd_deflate_bound(self.0.as_ptr(), pairs.as_ptr(), pairs.len());
            let mut block = vec![0; bound];
            let len = nghttp2::nghttp2_hd_deflate_hd2(
                self.0.as_ptr(),
                block.as_mut_ptr(),
                block.len(),
                pairs.as_ptr(),
                pairs.len(),
            );
            block.truncate(usize::try_from(len).expect("nghttp2 encodes any list"));
            block
        }
    }
}

impl Drop for Deflater {
    fn drop(&mut self) {
        // SAFETY: nobody uses it after this.
        unsafe { nghttp2::nghttp2_hd_deflate_del(self.0.as_ptr()) }
    }
}

/// nghttp2's decoder.
struct Inflater(NonNull<nghttp2::nghttp2_hd_inflater>);

impl Inflater {
    fn new() -> Self {
        let mut inflater = ptr::null_mut();
        // SAFETY: the pointer to write to is valid.
        let outcome = unsafe { nghttp2::nghttp2_hd_inflate_new(&mut inflater) };
        assert_eq!(outcome, 0);
        Self(NonNull::new(inflater).expect("an inflater"))
    }

    /// The fields of a whole block; `None` when nghttp2 rejects it.
    fn decode(&mut self, mut block: &[u8]) -> Option<Vec<Field>> {
        let mut fields = vec![];
        loop {
            let (mut found, mut flags) = (pair(b"", b"", false), 0);
            // SAFETY: all pointers are valid for the call, and the field found is copied before the next one.
            let len = unsafe {
                nghttp2::nghttp2_hd_inflate_hd3(self.0.as_ptr(), &mut found, &mut flags, block.as_ptr(), block.len(), 1)
            };
            block = &block[usize::try_from(len).ok()?..];
            let flags = flags.cast_unsigned();
            if flags & nghttp2::NGHTTP2_HD_INFLATE_EMIT != 0 {
                // SAFETY: nghttp2 says that a field is there.
                fields.push(unsafe { (copy(found.name, found.namelen), copy(found.value, found.valuelen)) });
            }
            if flags & nghttp2::NGHTTP2_HD_INFLATE_FINAL != 0 {
                // SAFETY: the inflater lives as long as `self`.
                unsafe { nghttp2::nghttp2_hd_inflate_end_headers(self.0.as_ptr()) };
                return Some(fields);
            }
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: nobody uses it after this.
        unsafe { nghttp2::nghttp2_hd_inflate_del(self.0.as_ptr()) }
    }
}

/// A field as nghttp2 wants it; it never writes through these pointers.
fn pair(name: &[u8], value: &[u8], is_secret: bool) -> nghttp2::nghttp2_nv {
    nghttp2::nghttp2_nv {
        name: name.as_ptr().cast_mut(),
        value: value.as_ptr().cast_mut(),
        namelen: name.len(),
        valuelen: value.len(),
        flags: if is_secret { nghttp2::NGHTTP2_NV_FLAG_NO_INDEX as u8 } else { 0 },
    }
}

/// # Safety
///
/// `len` bytes can be read at `start`.
unsafe fn copy(start: *const u8, len: usize) -> Vec<u8> {
    if len == 0 {
        return vec![];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start, len) }.to_vec()
}

fn pairs(fields: &Fields) -> Vec<Field> {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// Names and values that come again, so that tables are worth their while, and some that do not.
fn field() -> impl Strategy<Value = Field> {
    let name = prop_oneof![
        proptest::sample::select(
            &[
                ":method",
                ":path",
                ":authority",
                ":status",
                "content-type",
                "te",
                "user-agent",
                "grpc-timeout",
                "cookie",
                "x-a",
                "x-b",
                "x-request-id",
            ][..]
        )
        .prop_map(|name| name.as_bytes().to_vec()),
        vec(b'a'..=b'z', 0..30),
    ];
    let value = prop_oneof![
        3 => proptest::sample::select(&["GET", "POST", "/", "200", "application/grpc", "trailers", "1S", ""][..])
            .prop_map(|value| value.as_bytes().to_vec()),
        2 => vec(b'0'..=b'9', 1..3),
        1 => vec(b' '..=b'~', 0..200),
        1 => vec(any::<u8>(), 0..60),
        1 => (any::<u8>(), 900usize..5000).prop_map(|(byte, len)| vec![byte; len]),
    ];
    (name, value)
}

/// The limits acknowledged just before a block, and its fields; some are never to be indexed.
type Block = (Option<Vec<u32>>, Vec<(Field, bool)>);

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let limits = option::weighted(0.2, vec(prop_oneof![Just(0), 0u32..300, 0u32..8192], 1..4));
    vec((limits, vec((field(), proptest::bool::weighted(0.1)), 0..15)), 1..20)
}

proptest! {
    #[test]
    fn we_read_what_nghttp2_writes(blocks in blocks(), size_max in prop_oneof![Just(4096usize), 0usize..8192]) {
        let (mut deflater, mut decoder, mut fields) = (Deflater::new(size_max), Decoder::new(), Fields::default());
        for (limits, list) in blocks {
            for limit in limits.into_iter().flatten() {
                deflater.set_limit(limit);
                decoder.set_limit(limit);
            }
            let block = deflater.encode(&list);
            prop_assert_eq!(decoder.decode(&block, NO_LIMIT, &mut fields), Ok(()));
            let want: Vec<Field> = list.into_iter().map(|(field, _)| field).collect();
            prop_assert_eq!(pairs(&fields), want);
        }
    }

    #[test]
    fn nghttp2_reads_what_we_write(lists in vec((100u16..1000, vec(field(), 0..15)), 1..10)) {
        let mut inflater = Inflater::new();
        let mut block = vec![encode::NO_TABLE];
        for (status, list) in lists {
            encode::status(status, &mut block);
            let mut want: Vec<Field> = vec![(b":status".to_vec(), status.to_string().into_bytes())];
            for (name, value) in list {
                encode::field(&name.to_ascii_uppercase(), &value, &mut block);
                want.push((name, value));
            }
            prop_assert_eq!(inflater.decode(&block), Some(want));
            block.clear();
        }
    }

    #[test]
    fn we_judge_damaged_blocks_as_nghttp2_does(
        blocks in blocks(),
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut deflater = Deflater::new(TABLE_LEN as usize);
        let blocks: Vec<_> = blocks.iter().map(|(_, list)| deflater.encode(list)).collect();
        let (mut inflater, mut decoder) = (Inflater::new(), Decoder::new());
        for (index, mut block) in blocks.into_iter().enumerate() {
            if index > 0 && !block.is_empty() {
                for (at, byte) in &damage {
                    *at.get_mut(&mut block) = *byte;
                }
            }
            if !same_verdict(&mut decoder, &mut inflater, &block) {
                break;
            }
        }
    }

    #[test]
    fn we_judge_random_bytes_as_nghttp2_does(blocks in vec(vec(any::<u8>(), 0..40), 1..5)) {
        let (mut inflater, mut decoder) = (Inflater::new(), Decoder::new());
        for block in blocks {
            if !same_verdict(&mut decoder, &mut inflater, &block) {
                break;
            }
        }
    }
}

/// Lets both read a block and compares; false when it was rejected, which ends the connection.
fn same_verdict(decoder: &mut Decoder, inflater: &mut Inflater, block: &[u8]) -> bool {
    let mut fields = Fields::default();
    let ours = decoder.decode(block, NO_LIMIT, &mut fields).map(|()| pairs(&fields));
    match (ours, inflater.decode(block)) {
        (Ok(ours), theirs) => {
            assert_eq!(Some(ours), theirs, "{block:02x?}");
            true
        }
        // Where nghttp2 is more lenient, see below.
        (Err(Malformed::Integer), _) => false,
        (Err(Malformed::UpdateMisplaced), _) if matches!(block[0], 0x20..0x40) => false,
        (Err(error), theirs) => {
            assert_eq!(theirs, None, "{error} in {block:02x?}");
            false
        }
    }
}

#[test]
fn nghttp2_forgives_more_updates_and_longer_integers_than_we_do() {
    let cases: [(&[u8], Malformed); 2] = [
        (&[0x20, 0x20, 0x20, 0x82], Malformed::UpdateMisplaced),
        (&[0x3f, 0x80, 0x80, 0x80, 0x80, 0x00, 0x82], Malformed::Integer),
    ];
    for (block, ours) in cases {
        assert_eq!(Decoder::new().decode(block, NO_LIMIT, &mut Fields::default()), Err(ours), "{block:02x?}");
        assert_eq!(Inflater::new().decode(block), Some(vec![(b":method".to_vec(), b"GET".to_vec())]), "{block:02x?}");
    }
}
