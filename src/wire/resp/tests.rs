use proptest::prelude::*;

use super::*;
use crate::base::limits::{RESP_DEPTH_MAX, RESP_ELEMENTS_MAX, RESP_LINE_LEN_MAX, RESP_SKIPPED_LEN_MAX};

const LIMITS: Limits = Limits { bulk_max: 1024, reply_max: 8192 };

/// A reply that owns its bytes.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Owned>),
    Clipped(u64, Box<Owned>),
}

impl Owned {
    fn reply(reply: Reply<'_>) -> Self {
        match reply {
            Reply::Simple(text) => Self::Simple(text.to_vec()),
            Reply::Error(text) => Self::Error(text.to_vec()),
            Reply::Integer(number) => Self::Integer(number),
            Reply::Bulk(bytes) => Self::Bulk(bytes.to_vec()),
            Reply::Nil => Self::Nil,
            Reply::Array(items) => Self::Array(items.iter().map(Self::reply).collect()),
        }
    }

    fn word(word: Word<'_>) -> Self {
        match word {
            Word::Reply(reply) => Self::reply(reply),
            Word::Clipped { reply, len } => Self::Clipped(len, Box::new(Self::reply(reply))),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(text) => out.extend([b"+", text.as_slice(), b"\r\n"].concat()),
            Self::Error(text) => out.extend([b"-", text.as_slice(), b"\r\n"].concat()),
            Self::Integer(number) => out.extend(format!(":{number}\r\n").into_bytes()),
            Self::Bulk(bytes) => out.extend([format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()),
            Self::Nil => out.extend(b"$-1\r\n"),
            Self::Array(items) => {
                out.extend(format!("*{}\r\n", items.len()).into_bytes());
                items.iter().for_each(|item| item.encode(out));
            }
            Self::Clipped(..) => unreachable!("nobody sends these"),
        }
    }
}

fn bulk(text: &str) -> Owned {
    Owned::Bulk(text.as_bytes().to_vec())
}

fn decode_pieces(limits: Limits, pieces: &[&[u8]]) -> (Vec<Owned>, Result<(), ProtocolError>) {
    let (mut decoder, mut got, mut result) = (Decoder::new(limits), Vec::new(), Ok(()));
    for piece in pieces {
        result = decoder.feed(piece, |word| got.push(Owned::word(word)));
        assert!(decoder.carried_len() <= limits.reply_max + RESP_LINE_LEN_MAX + 3, "the carry is bounded");
    }
    (got, result)
}

fn decode_all(input: &[u8]) -> (Vec<Owned>, Result<(), ProtocolError>) {
    decode_pieces(LIMITS, &[input])
}

/// Where the kernel happened to cut the stream must not matter.
fn every_cut(limits: Limits, input: &[u8], want: &[Owned]) {
    for cut in 0..=input.len() {
        let (got, result) = decode_pieces(limits, &[&input[..cut], &input[cut..]]);
        assert_eq!((got.as_slice(), result), (want, Ok(())), "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(decode_pieces(limits, &bytes), (want.to_vec(), Ok(())), "byte by byte");
}

#[test]
fn a_pub_sub_conversation_is_read_at_every_cut() {
    let input = b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$6\r\nplasma\r\n:1\r\n\
        *3\r\n$7\r\nmessage\r\n$6\r\nplasma\r\n$13\r\n{\"a\":\"\r\n\xff*3\"}\r\n\
        *3\r\n$7\r\nmessage\r\n$0\r\n\r\n$0\r\n\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n-NOAUTH Authentication required.\r\n";
    let want = [
        Owned::Simple(b"OK".to_vec()),
        Owned::Array(vec![bulk("subscribe"), bulk("plasma"), Owned::Integer(1)]),
        Owned::Array(vec![bulk("message"), bulk("plasma"), Owned::Bulk(b"{\"a\":\"\r\n\xff*3\"}".to_vec())]),
        Owned::Array(vec![bulk("message"), bulk(""), bulk("")]),
        Owned::Array(vec![bulk("pong"), bulk("")]),
        Owned::Error(b"NOAUTH Authentication required.".to_vec()),
    ];
    every_cut(LIMITS, input, &want);
}

#[test]
fn nothing_empty_and_nested_is_read_at_every_cut() {
    let input = b"*0\r\n*-1\r\n$-1\r\n+\r\n:-9223372036854775808\r\n*2\r\n*1\r\n*0\r\n*2\r\n$-1\r\n:0\r\n";
    let want = [
        Owned::Array(vec![]),
        Owned::Nil,
        Owned::Nil,
        Owned::Simple(vec![]),
        Owned::Integer(i64::MIN),
        Owned::Array(vec![Owned::Array(vec![Owned::Array(vec![])]), Owned::Array(vec![Owned::Nil, Owned::Integer(0)])]),
    ];
    every_cut(LIMITS, input, &want);
}

#[test]
fn a_string_at_the_limit_is_kept_and_one_over_it_is_skipped() {
    let limits = Limits { bulk_max: 4, reply_max: 100 };
    let input = b"*3\r\n$1\r\nm\r\n$1\r\nc\r\n$4\r\n1234\r\n*3\r\n$1\r\nm\r\n$1\r\nc\r\n$5\r\n12345\r\n+next\r\n";
    let want = [
        Owned::Array(vec![bulk("m"), bulk("c"), bulk("1234")]),
        Owned::Clipped(5, Box::new(Owned::Array(vec![bulk("m"), bulk("c"), Owned::Nil]))),
        Owned::Simple(b"next".to_vec()),
    ];
    every_cut(limits, input, &want);
}

#[test]
fn strings_that_together_outgrow_the_reply_are_skipped() {
    let limits = Limits { bulk_max: 6, reply_max: 31 };
    // A reply of 28 bytes, then one whose third header ends at byte 32 and whose third string would end at byte 40.
    let input = b"*2\r\n$6\r\n123456\r\n$6\r\n123456\r\n*3\r\n$6\r\n123456\r\n$6\r\nabcdef\r\n$6\r\nABCDEF\r\n";
    let (got, result) = decode_pieces(limits, &[input]);
    assert_eq!(got, [Owned::Array(vec![bulk("123456"), bulk("123456")])]);
    assert_eq!(result, Err(ProtocolError::LongReply));
    let roomier = Limits { reply_max: 39, ..limits };
    let want = [
        Owned::Array(vec![bulk("123456"), bulk("123456")]),
        Owned::Clipped(6, Box::new(Owned::Array(vec![bulk("123456"), bulk("abcdef"), Owned::Nil]))),
    ];
    every_cut(roomier, input, &want);
    let enough = Limits { reply_max: 40, ..limits };
    let whole = Owned::Array(vec![bulk("123456"), bulk("abcdef"), bulk("ABCDEF")]);
    every_cut(enough, input, &[want[0].clone(), whole]);
}

#[test]
fn a_skipped_string_must_end_in_crlf_too() {
    let limits = Limits { bulk_max: 1, reply_max: 100 };
    for input in [&b"$2\r\nabXX"[..], b"$2\r\nab\rX", b"$2\r\nabc\r\n"] {
        for cut in 0..input.len() {
            let (got, result) = decode_pieces(limits, &[&input[..cut], &input[cut..]]);
            assert_eq!((got, result), (vec![], Err(ProtocolError::LineEnd)), "{input:?} cut at {cut}");
        }
    }
}

#[test]
fn a_gigabyte_passes_by_without_being_held() {
    let mut decoder = Decoder::new(LIMITS);
    let mut got = Vec::new();
    let mut feed = |bytes: &[u8]| {
        assert_eq!(decoder.feed(bytes, |word| got.push(Owned::word(word))), Ok(()));
        assert!(decoder.carried_len() < 100);
    };
    feed(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1073741824\r\n");
    let chunk = vec![b'x'; 1 << 20];
    (0..1024).for_each(|_| feed(&chunk));
    feed(b"\r\n:7\r\n");
    let want = Owned::Array(vec![bulk("message"), bulk("c"), Owned::Nil]);
    assert_eq!(got, [Owned::Clipped(1 << 30, Box::new(want)), Owned::Integer(7)]);
}

#[test]
fn arrays_may_nest_to_the_limit_and_no_deeper() {
    let nested = |depth: usize| [b"*1\r\n".repeat(depth).as_slice(), b":1\r\n"].concat();
    assert_eq!(decode_all(&nested(RESP_DEPTH_MAX)).1, Ok(()));
    assert_eq!(decode_all(&nested(RESP_DEPTH_MAX)).0.len(), 1);
    assert_eq!(decode_all(&nested(RESP_DEPTH_MAX + 1)), (vec![], Err(ProtocolError::Depth)));
    assert_eq!(decode_all(&nested(100_000)).1, Err(ProtocolError::Depth));
}

#[test]
fn a_reply_may_have_as_many_elements_as_the_limit_and_no_more() {
    let limits = Limits { bulk_max: 1, reply_max: 1 << 20 };
    let flat = |count: usize| [format!("*{count}\r\n").as_bytes(), &b":1\r\n".repeat(count)].concat();
    let (got, result) = decode_pieces(limits, &[&flat(RESP_ELEMENTS_MAX)]);
    assert_eq!((got.len(), result), (1, Ok(())));
    assert_eq!(decode_pieces(limits, &[&flat(RESP_ELEMENTS_MAX + 1)]).1, Err(ProtocolError::Elements));
    let half = RESP_ELEMENTS_MAX / 2;
    let two_arrays = [b"*2\r\n", flat(half).as_slice(), &flat(half)].concat();
    assert_eq!(decode_pieces(limits, &[&two_arrays]).1, Err(ProtocolError::Elements), "all arrays count together");
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    for (len, want) in [(RESP_LINE_LEN_MAX, Ok(())), (RESP_LINE_LEN_MAX + 1, Err(ProtocolError::LongLine))] {
        let line = [b"-", "e".repeat(len - 1).as_bytes(), b"\r\n"].concat();
        assert_eq!(decode_all(&line).1, want, "{len} bytes with the first");
        for cut in [1, 2, len - 1, len, len + 1] {
            assert_eq!(decode_pieces(LIMITS, &[&line[..cut], &line[cut..]]).1, want, "{len} cut at {cut}");
        }
    }
    let endless = vec![b'+'; 100_000];
    assert_eq!(decode_all(&endless).1, Err(ProtocolError::LongLine));
    assert_eq!(decode_pieces(LIMITS, &[b"+", &endless]).1, Err(ProtocolError::LongLine));
}

#[test]
fn a_reply_may_be_as_long_as_the_limit_and_no_longer() {
    let input = b"*2\r\n:1\r\n+ab\r\n";
    for reply_max in 0..input.len() {
        let limits = Limits { bulk_max: 1, reply_max };
        assert_eq!(decode_pieces(limits, &[input]), (vec![], Err(ProtocolError::LongReply)));
    }
    assert_eq!(decode_pieces(Limits { bulk_max: 1, reply_max: input.len() }, &[input]).1, Ok(()));
}

#[test]
fn what_is_not_resp2_is_named() {
    let announced = format!("${}\r\n", RESP_SKIPPED_LEN_MAX + 1);
    let cases: &[(&[u8], ProtocolError)] = &[
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolError::Kind(b'H')),
        (b"\r\n", ProtocolError::Kind(b'\r')),
        (b"%1\r\n+a\r\n+b\r\n", ProtocolError::Kind(b'%')),
        (b"\x15\x03\x01\x00\x02\x02\x16", ProtocolError::Kind(0x15)),
        (b"$\r\n", ProtocolError::Length),
        (b"$x\r\n", ProtocolError::Length),
        (b"$+1\r\n", ProtocolError::Length),
        (b"$-2\r\n", ProtocolError::Length),
        (b"*-\r\n", ProtocolError::Length),
        (b"*1x\r\n", ProtocolError::Length),
        (b"$99999999999999999999\r\n", ProtocolError::Length),
        (b"$1\r\t", ProtocolError::LineEnd),
        (b"$1\r\nabc", ProtocolError::LineEnd),
        (b"+OK\n", ProtocolError::LineEnd),
        (b"*9999999999999999999\r\n", ProtocolError::Elements),
        (announced.as_bytes(), ProtocolError::LongString),
        (b":\r\n", ProtocolError::Malformed),
        (b":12a\r\n", ProtocolError::Malformed),
        (b":9223372036854775808\r\n", ProtocolError::Malformed),
    ];
    for (input, want) in cases {
        for cut in 0..=input.len() {
            let (got, result) = decode_pieces(LIMITS, &[&input[..cut], &input[cut..]]);
            assert_eq!((got, result), (vec![], Err(*want)), "{:?} cut at {cut}", String::from_utf8_lossy(input));
        }
        assert!(!want.to_string().is_empty());
    }
}

#[test]
fn a_broken_decoder_stays_broken_and_what_came_before_is_handed_out() {
    let (got, result) = decode_pieces(LIMITS, &[b"+OK\r\nHTTP", b"+OK\r\n"]);
    assert_eq!(got, [Owned::Simple(b"OK".to_vec())]);
    assert_eq!(result, Err(ProtocolError::Kind(b'H')));
}

#[test]
fn replies_borrow_the_received_bytes() {
    let input = b"$3\r\nabc\r\n".to_vec();
    let mut seen = false;
    let result = Decoder::new(LIMITS).feed(&input, |word| {
        let Word::Reply(Reply::Bulk(bytes)) = word else { panic!("a string was sent") };
        seen = input.as_ptr_range().contains(&bytes.as_ptr());
    });
    assert_eq!(result, Ok(()));
    assert!(seen);
}

#[test]
fn a_command_is_an_array_of_strings() {
    let mut out = Vec::new();
    command(&mut out, &[b"PUBLISH", b"", b"a\r\nb"]);
    assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$0\r\n\r\n$4\r\na\r\nb\r\n");
}

fn any_reply() -> impl Strategy<Value = Owned> {
    let text = proptest::collection::vec(any::<u8>().prop_filter("no line ends", |b| !b"\r\n".contains(b)), 0..20);
    let leaf = prop_oneof![
        text.clone().prop_map(Owned::Simple),
        text.prop_map(Owned::Error),
        any::<i64>().prop_map(Owned::Integer),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Owned::Bulk),
        Just(Owned::Nil),
    ];
    leaf.prop_recursive(3, 30, 5, |inner| proptest::collection::vec(inner, 0..5).prop_map(Owned::Array))
}

proptest! {
    #[test]
    fn any_replies_survive_any_cuts(replies in proptest::collection::vec(any_reply(), 1..6), cuts in any::<u64>()) {
        let mut input = Vec::new();
        replies.iter().for_each(|reply| reply.encode(&mut input));
        let (mut pieces, mut rest, mut seed) = (Vec::new(), input.as_slice(), cuts | 1);
        while !rest.is_empty() {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (piece, left) = rest.split_at((seed >> 33) as usize % 30 % (rest.len() + 1));
            pieces.push(piece);
            rest = left;
        }
        let limits = Limits { bulk_max: 100, reply_max: 1 << 20 };
        prop_assert_eq!(decode_pieces(limits, &pieces), (replies, Ok(())));
    }

    #[test]
    fn random_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_all(&input);
    }

    #[test]
    fn bytes_that_look_like_resp_never_panic_and_cuts_do_not_matter(
        input in proptest::collection::vec(proptest::sample::select(b"*$:+-0123\r\n\r\n\r\na".to_vec()), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let limits = Limits { bulk_max: 3, reply_max: 40 };
        let cut = cut.index(input.len() + 1);
        prop_assert_eq!(decode_pieces(limits, &[&input]), decode_pieces(limits, &[&input[..cut], &input[cut..]]));
    }
}
