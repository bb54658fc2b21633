//! Random lists and random bytes: what was encoded is decoded, and nothing else does harm.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::table::STATIC;
use super::*;

const NO_LIMIT: usize = 1 << 20;

type Pair = (Vec<u8>, Vec<u8>);

/// One instruction of a block, as a peer may choose it.
#[derive(Clone, Debug)]
enum Op {
    /// A reference; the number is taken modulo what there is.
    Indexed(usize),
    /// A literal: the bits of its kind, the entry that names it or else its name, its value, both coded or not.
    Literal { kind: Kind, named_by: Option<usize>, name: Vec<u8>, value: Vec<u8>, is_huffman: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Insert,
    Plain,
    Never,
}

/// A peer's encoder by the letter of RFC 7541, with the plainest table there can be.
#[derive(Default)]
struct Peer {
    entries: VecDeque<Pair>,
    size_max: usize,
}

impl Peer {
    fn encode(&mut self, op: &Op, block: &mut Vec<u8>) -> Pair {
        match op {
            Op::Indexed(number) => {
                let (index, field) = self.pick(*number);
                encode::integer(0x80, 7, index, block);
                field
            }
            Op::Literal { kind, named_by, name, value, is_huffman } => {
                let (index, name) = match named_by {
                    Some(number) => self.pick(*number),
                    None => (0, (name.clone(), vec![])),
                };
                let (pattern, prefix_bits) = match kind {
                    Kind::Insert => (0x40, 6),
                    Kind::Plain => (0x00, 4),
                    Kind::Never => (0x10, 4),
                };
                encode::integer(pattern, prefix_bits, index, block);
                if index == 0 {
                    string(&name.0, *is_huffman, block);
                }
                string(value, *is_huffman, block);
                let field = (name.0, value.clone());
                if *kind == Kind::Insert {
                    self.entries.push_front(field.clone());
                    self.evict();
                }
                field
            }
        }
    }

    /// An index and its entry.
    fn pick(&self, number: usize) -> (usize, Pair) {
        let index = number % (STATIC.len() + self.entries.len());
        let field = match index.checked_sub(STATIC.len()) {
            None => (STATIC[index].0.into(), STATIC[index].1.into()),
            Some(age) => self.entries[age].clone(),
        };
        (index + 1, field)
    }

    fn resize(&mut self, size_max: usize, block: &mut Vec<u8>) {
        self.size_max = size_max;
        encode::integer(0x20, 5, size_max, block);
        self.evict();
    }

    fn evict(&mut self) {
        while self.entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>() > self.size_max {
            self.entries.pop_back();
        }
    }
}

fn string(plain: &[u8], is_huffman: bool, out: &mut Vec<u8>) {
    let mut coded = plain.to_vec();
    if is_huffman {
        coded.clear();
        huffman::encode(plain, &mut coded);
    }
    encode::integer(if is_huffman { 0x80 } else { 0x00 }, 7, coded.len(), out);
    out.extend(coded);
}

fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let text = vec(b'a'..=b'z', 0..len_max);
    prop_oneof![3 => text, 1 => vec(any::<u8>(), 0..len_max)]
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![3 => Just(Kind::Insert), 1 => Just(Kind::Plain), 1 => Just(Kind::Never)];
    let literal = (kind, proptest::option::of(any::<usize>()), bytes(40), bytes(200), any::<bool>());
    prop_oneof![
        any::<usize>().prop_map(Op::Indexed),
        literal.prop_map(|(kind, named_by, name, value, is_huffman)| {
            Op::Literal { kind, named_by, name, value, is_huffman }
        }),
    ]
}

fn pairs(fields: &Fields) -> Vec<Pair> {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

fn list_len(list: &[Pair]) -> usize {
    list.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
}

proptest! {
    #[test]
    fn what_any_peer_encodes_is_decoded(
        blocks in vec((proptest::option::of(0usize..600), vec(op(), 0..20)), 1..12),
        list_len_max in prop_oneof![Just(NO_LIMIT), 0usize..2000],
    ) {
        let (mut decoder, mut fields) = (Decoder::new(), Fields::default());
        let mut peer = Peer { size_max: 4096, ..Peer::default() };
        for (resize, ops) in blocks {
            let mut block = vec![];
            if let Some(size_max) = resize {
                peer.resize(size_max, &mut block);
            }
            let want: Vec<Pair> = ops.iter().map(|op| peer.encode(op, &mut block)).collect();
            prop_assert_eq!(decoder.decode(&block, list_len_max, &mut fields), Ok(()));
            prop_assert_eq!(fields.list_len(), list_len(&want));
            let kept = (0..=want.len()).rev().find(|kept| list_len(&want[..*kept]) <= list_len_max).unwrap();
            prop_assert_eq!(pairs(&fields), &want[..kept]);
            prop_assert_eq!(fields.is_too_large(), kept < want.len());
        }
    }

    #[test]
    fn what_we_encode_is_decoded(
        status in 100u16..1000,
        list in vec((prop_oneof![bytes(20), (0..STATIC.len()).prop_map(|at| STATIC[at].0.into())], bytes(300)), 0..20),
    ) {
        let mut block = vec![encode::NO_TABLE];
        encode::status(status, &mut block);
        let mut want: Vec<Pair> = vec![(b":status".to_vec(), status.to_string().into())];
        for (name, value) in list {
            encode::field(&name, &value, &mut block);
            want.push((name.to_ascii_lowercase(), value));
        }
        let mut fields = Fields::default();
        prop_assert_eq!(Decoder::new().decode(&block, NO_LIMIT, &mut fields), Ok(()));
        prop_assert_eq!(pairs(&fields), want);
    }

    #[test]
    fn random_bytes_yield_an_error_or_a_bounded_list(
        blocks in vec((proptest::option::of(0u32..5000), vec(any::<u8>(), 0..300)), 1..8),
        list_len_max in 0usize..3000,
    ) {
        let (mut decoder, mut fields) = (Decoder::new(), Fields::default());
        for (limit, block) in blocks {
            if let Some(limit) = limit {
                decoder.set_limit(limit);
            }
            let outcome = decoder.decode(&block, list_len_max, &mut fields);
            prop_assert!(list_len(&pairs(&fields)) <= list_len_max);
            prop_assert!(outcome.is_ok() || fields.is_empty());
            prop_assert_eq!(fields.is_too_large(), list_len(&pairs(&fields)) < fields.list_len());
        }
    }

    #[test]
    fn the_huffman_code_is_undone(plain in vec(any::<u8>(), 0..500)) {
        let (mut coded, mut got) = (vec![], b"before".to_vec());
        huffman::encode(&plain, &mut coded);
        prop_assert_eq!(huffman::decode(&coded, &mut got), Ok(()));
        prop_assert_eq!(&got[6..], &plain);
    }

    #[test]
    fn huffman_output_is_bounded(coded in prop_oneof![vec(any::<u8>(), 0..500), vec(0u8..8, 0..500)]) {
        let mut out = vec![];
        if huffman::decode(&coded, &mut out) == Ok(()) {
            prop_assert!(out.len() <= coded.len() * 8 / 5);
            let mut again = vec![];
            huffman::encode(&out, &mut again);
            prop_assert_eq!(again, coded);
        }
    }
}

#[test]
fn huffman_has_one_code_for_each_byte() {
    for symbol in 0..=255 {
        for count in 1..9 {
            let (plain, mut coded, mut got) = (vec![symbol; count], vec![], vec![]);
            huffman::encode(&plain, &mut coded);
            assert_eq!(huffman::decode(&coded, &mut got), Ok(()), "{symbol}");
            assert_eq!(got, plain);
        }
    }
}

#[test]
fn the_densest_huffman_string_fits_its_bound() {
    // Eight times `0`, five zero bits each.
    let mut out = vec![];
    assert_eq!(huffman::decode(&[0; 5], &mut out), Ok(()));
    assert_eq!(out, b"00000000");
}

#[test]
fn our_blocks_are_as_short_as_promised() {
    let encoded = |name: &str, value: &str| {
        let mut out = vec![];
        encode::field(name.as_bytes(), value.as_bytes(), &mut out);
        out
    };
    assert_eq!(encoded(":path", "/index.html"), [0x85]);
    assert_eq!(encoded("Content-Type", "a"), [0x0f, 0x10, 1, b'a']);
    assert_eq!(encoded("Age", ""), [0x80 | 21]);
    assert_eq!(encoded("Xy", "Z"), [0, 2, b'x', b'y', 1, b'Z']);
    let long = encoded("x", &"v".repeat(1337));
    assert_eq!(long[..6], [0, 1, b'x', 0x7f, 0xba, 0x09]);
    let status = |status| {
        let mut out = vec![];
        encode::status(status, &mut out);
        out
    };
    let indexed = [200, 204, 206, 304, 400, 404, 500].map(status);
    assert_eq!(indexed.concat(), [0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e]);
    assert_eq!(status(503), [0x08, 3, b'5', b'0', b'3']);
}

#[test]
fn fields_can_be_walked_twice() {
    let mut fields = Fields::default();
    Decoder::new().decode(&[0x82, 0x84], NO_LIMIT, &mut fields).unwrap();
    let walk = fields.iter();
    assert_eq!(walk.clone().collect::<Vec<_>>(), walk.collect::<Vec<_>>());
    assert_eq!(format!("{fields:?}"), r#"{":method": "GET", ":path": "/"}"#);
}
