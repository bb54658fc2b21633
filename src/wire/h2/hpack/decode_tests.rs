//! The decoder under RFC 7541's examples, cut anywhere, and under everything that a peer must not do.

use super::*;

/// No list of these tests comes near.
const NO_LIMIT: usize = 1 << 20;

type Pair = (&'static str, &'static str);

/// One block of an example: its bytes, its fields, and the size of the table after it.
type Block = (&'static str, &'static [Pair], usize);

const FIRST_REQUEST: &[Pair] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const SECOND_REQUEST: &[Pair] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("cache-control", "no-cache"),
];
const THIRD_REQUEST: &[Pair] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];
const FIRST_RESPONSE: &[Pair] = &[
    (":status", "302"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("location", "https://www.example.com"),
];
const SECOND_RESPONSE: &[Pair] = &[
    (":status", "307"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("location", "https://www.example.com"),
];
const THIRD_RESPONSE: &[Pair] = &[
    (":status", "200"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
    ("location", "https://www.example.com"),
    ("content-encoding", "gzip"),
    ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
];

/// RFC 7541, Appendix C: the limit of the table, then the blocks of one connection.
const EXAMPLES: &[(&str, u32, &[Block])] = &[
    (
        "C.2.1",
        4096,
        &[("400a637573746f6d2d6b65790d637573746f6d2d686561646572", &[("custom-key", "custom-header")], 55)],
    ),
    ("C.2.2", 4096, &[("040c2f73616d706c652f70617468", &[(":path", "/sample/path")], 0)]),
    ("C.2.3", 4096, &[("100870617373776f726406736563726574", &[("password", "secret")], 0)]),
    ("C.2.4", 4096, &[("82", &[(":method", "GET")], 0)]),
    (
        "C.3",
        4096,
        &[
            ("828684410f7777772e6578616d706c652e636f6d", FIRST_REQUEST, 57),
            ("828684be58086e6f2d6361636865", SECOND_REQUEST, 110),
            ("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", THIRD_REQUEST, 164),
        ],
    ),
    (
        "C.4",
        4096,
        &[
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", FIRST_REQUEST, 57),
            ("828684be5886a8eb10649cbf", SECOND_REQUEST, 110),
            ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", THIRD_REQUEST, 164),
        ],
    ),
    (
        "C.5",
        256,
        &[
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54\
                 6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                FIRST_RESPONSE,
                222,
            ),
            ("4803333037c1c0bf", SECOND_RESPONSE, 222),
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f\
                 3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076\
                 657273696f6e3d31",
                THIRD_RESPONSE,
                215,
            ),
        ],
    ),
    (
        "C.6",
        256,
        &[
            (
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f\
                 0b97c8e9ae82ae43d3",
                FIRST_RESPONSE,
                222,
            ),
            ("4883640effc1c0bf", SECOND_RESPONSE, 222),
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335df\
                 dfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                THIRD_RESPONSE,
                215,
            ),
        ],
    ),
];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let mut fields = Fields::default();
    decoder.decode(block, NO_LIMIT, &mut fields)?;
    assert!(!fields.is_too_large());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ok(fields.iter().map(|(name, value)| (text(name), text(value))).collect())
}

/// What a new connection makes of its first block.
fn outcome(block: &str) -> Result<usize, Malformed> {
    let mut fields = Fields::default();
    Decoder::new().decode(&hex(block), NO_LIMIT, &mut fields).map(|()| fields.len())
}

fn table_size(decoder: &Decoder) -> usize {
    decoder.table.as_ref().map_or(0, |table| table.size())
}

fn equal(got: &[(String, String)], want: &[Pair]) -> bool {
    got.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(want.iter().copied())
}

/// A connection of a limit after some blocks of an example.
fn after(limit: u32, blocks: &[Block]) -> Decoder {
    let mut decoder = Decoder::new();
    decoder.set_limit(limit);
    // The examples take it for granted that both sides know the size.
    decoder.resize(limit.min(INITIAL_LIMIT));
    for (block, ..) in blocks {
        decode(&mut decoder, &hex(block)).unwrap();
    }
    decoder
}

/// A connection whose table holds one field of 36 bytes.
fn with_entry() -> Decoder {
    let mut decoder = Decoder::new();
    decode(&mut decoder, &hex("40026162026364")).unwrap();
    assert_eq!(table_size(&decoder), 36);
    decoder
}

#[test]
fn every_example_of_the_rfc_decodes() {
    for (name, limit, blocks) in EXAMPLES {
        let mut decoder = after(*limit, &[]);
        for (index, (block, want, size)) in blocks.iter().enumerate() {
            let got = decode(&mut decoder, &hex(block)).unwrap();
            assert!(equal(&got, want), "{name}.{}: {got:?}", index + 1);
            assert_eq!(table_size(&decoder), *size, "{name}.{}", index + 1);
        }
    }
}

#[test]
fn every_cut_of_an_example_is_rejected_or_is_its_beginning() {
    for (name, limit, blocks) in EXAMPLES {
        for (index, (block, want, _)) in blocks.iter().enumerate() {
            let block = hex(block);
            for cut in 0..block.len() {
                let mut decoder = after(*limit, &blocks[..index]);
                if let Ok(got) = decode(&mut decoder, &block[..cut]) {
                    let is_beginning = got.len() < want.len() && equal(&got, &want[..got.len()]);
                    assert!(is_beginning, "{name}.{}, cut at {cut}: {got:?}", index + 1);
                }
            }
        }
    }
}

#[test]
fn integers_of_the_rfc_decode() {
    // RFC 7541 §C.1.
    assert_eq!(Input(&[0x0a]).integer(5), Ok(10));
    assert_eq!(Input(&[0xea]).integer(5), Ok(10));
    assert_eq!(Input(&[0x1f, 0x9a, 0x0a]).integer(5), Ok(1337));
    assert_eq!(Input(&[0x2a]).integer(8), Ok(42));
}

#[test]
fn integers_have_five_bytes_at_most() {
    assert_eq!(Input(&[0xff, 0xff, 0xff, 0xff, 0x7f]).integer(7), Ok(127 + (1 << 28) - 1));
    assert_eq!(Input(&[0xff, 0x80, 0x80, 0x80, 0x00]).integer(7), Ok(127));
    for block in ["ff8080808000", "ffffffffffff", "ff80808080", "3fffffffff0f", "007fffffffff7f", "0f8080808080"] {
        assert_eq!(outcome(block), Err(Malformed::Integer), "{block}");
    }
}

#[test]
fn what_is_cut_short_is_rejected() {
    for block in ["ff", "ff80", "3f", "40", "4001", "400161", "40016102", "4001610262", "00", "0f", "0f00", "008261"] {
        assert_eq!(outcome(block), Err(Malformed::Truncated), "{block}");
    }
    // A length of 2^28 in a block of 8 bytes costs nothing.
    assert_eq!(outcome("007fffffff7f6162"), Err(Malformed::Truncated));
}

#[test]
fn an_index_names_an_entry() {
    for block in ["80", "be", "ff00", "ffffffff7f", "7e0161", "0f2f0161", "1f2f0161"] {
        assert_eq!(outcome(block), Err(Malformed::Index), "{block}");
    }
    assert_eq!(outcome("81bd"), Ok(2));
    let mut decoder = with_entry();
    assert_eq!(decode(&mut decoder, &hex("be")).unwrap().len(), 1);
    assert_eq!(decode(&mut decoder, &hex("bf")), Err(Malformed::Index));
}

#[test]
fn a_size_update_stands_at_the_beginning() {
    assert_eq!(outcome("20"), Ok(0));
    assert_eq!(outcome("203fe11f82"), Ok(1));
    for block in ["8220", "82203fe11f", "202020", "40016101623f00"] {
        assert_eq!(outcome(block), Err(Malformed::UpdateMisplaced), "{block}");
    }
}

#[test]
fn a_size_update_stays_within_the_limit() {
    assert_eq!(outcome("3fe11f"), Ok(0));
    for block in ["3fe21f", "203fe21f", "3fffffff7f"] {
        assert_eq!(outcome(block), Err(Malformed::UpdateTooLarge), "{block}");
    }
    let mut decoder = Decoder::new();
    decoder.set_limit(0);
    assert_eq!(decode(&mut decoder, &hex("21")), Err(Malformed::UpdateTooLarge));
    let mut decoder = Decoder::new();
    decoder.set_limit(8192);
    assert_eq!(decode(&mut decoder, &hex("3fe13f")), Ok(vec![]));
    assert_eq!(decoder.size_max, 8192);
}

#[test]
fn a_lowered_limit_must_be_answered_when_the_table_is_in_use() {
    for limit in [0, 36, 4095] {
        for block in ["", "82", "be"] {
            let mut decoder = with_entry();
            decoder.set_limit(limit);
            assert_eq!(decode(&mut decoder, &hex(block)), Err(Malformed::UpdateMissing), "{limit} {block}");
        }
        let mut decoder = with_entry();
        decoder.set_limit(limit);
        assert_eq!(decode(&mut decoder, &hex("2082")).unwrap().len(), 1);
        assert_eq!(decode(&mut decoder, &hex("82")).unwrap().len(), 1, "once is enough");
    }
    let mut decoder = with_entry();
    decoder.set_limit(36);
    assert_eq!(decode(&mut decoder, &hex("3f05be")).unwrap().len(), 1, "what fits stays");
    let mut decoder = with_entry();
    decoder.set_limit(36);
    assert_eq!(decode(&mut decoder, &hex("3f06")), Err(Malformed::UpdateTooLarge));
}

#[test]
fn a_limit_lowered_and_raised_again_is_answered_with_the_lowest_first() {
    let lowered_and_raised = || {
        let mut decoder = with_entry();
        decoder.set_limit(10);
        decoder.set_limit(0);
        decoder.set_limit(4096);
        decoder
    };
    assert_eq!(decode(&mut lowered_and_raised(), &hex("203fe11f")), Ok(vec![]));
    assert_eq!(decode(&mut lowered_and_raised(), &hex("20be")), Err(Malformed::Index));
    assert_eq!(decode(&mut lowered_and_raised(), &hex("3fe11f")), Err(Malformed::UpdateTooLarge));
    assert_eq!(decode(&mut lowered_and_raised(), &hex("82")), Err(Malformed::UpdateMissing));
}

#[test]
fn a_limit_lowered_over_an_empty_table_needs_no_answer() {
    let mut decoder = Decoder::new();
    decoder.set_limit(0);
    assert_eq!(decode(&mut decoder, &hex("82")).unwrap().len(), 1);
    // Who says that it has no table may go on indexing, and adds nothing (python-h2 does this).
    assert_eq!(decode(&mut decoder, &hex("204001610162")).unwrap().len(), 1);
    assert!(decoder.table.is_none());
    assert_eq!(decode(&mut decoder, &hex("be")), Err(Malformed::Index));
}

#[test]
fn who_never_looks_at_the_limit_is_understood_within_the_table_it_began_with() {
    let mut decoder = Decoder::new();
    decoder.set_limit(0);
    assert_eq!(decode(&mut decoder, &hex("4001610162be")).unwrap().len(), 2);
    assert_eq!(decode(&mut decoder, &hex("be")).unwrap().len(), 1);
    for _ in 0..10_000 {
        decode(&mut decoder, &hex("4001610162")).unwrap();
    }
    assert!(decoder.table.as_ref().is_some_and(|table| table.size() <= INITIAL_LIMIT as usize));
    assert_eq!(decode(&mut decoder, &hex("21")), Err(Malformed::UpdateTooLarge));
}

#[test]
fn a_table_without_entries_takes_no_memory() {
    for empties in ["20", "3f04"] {
        let mut decoder = with_entry();
        assert!(decoder.table.is_some());
        decode(&mut decoder, &hex(empties)).unwrap();
        assert!(decoder.table.is_none(), "{empties}");
    }
    let mut decoder = with_entry();
    decoder.set_limit(0);
    assert!(decoder.table.is_none());
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = with_entry();
    let block = [&hex("3f054003")[..], b"abc", &hex("026465")].concat();
    assert_eq!(decode(&mut decoder, &block).unwrap(), [("abc".to_owned(), "de".to_owned())]);
    assert!(decoder.table.is_none());
}

#[test]
fn the_name_of_an_evicted_entry_can_be_its_successors() {
    let mut decoder = with_entry();
    let got = decode(&mut decoder, &hex("3f057e026566be")).unwrap();
    assert!(equal(&got, &[("ab", "ef"), ("ab", "ef")]), "{got:?}");
    assert_eq!(table_size(&decoder), 36);
}

#[test]
fn never_indexed_is_a_literal_like_any_other() {
    assert_eq!(outcome("1001610162"), Ok(1));
    assert_eq!(outcome("1001610162be"), Err(Malformed::Index));
    assert_eq!(outcome("110162"), Ok(1));
}

#[test]
fn huffman_strings_end_properly() {
    // `a` is 00011, so 1f is `a` and three bits of padding.
    assert_eq!(outcome("000161811f"), Ok(1));
    for block in ["000161811e", "0001618118", "0001618100", "000161821fff", "00016181ff", "00016183ffffff"] {
        assert_eq!(outcome(block), Err(Malformed::Padding), "{block}");
    }
    // EOS is thirty ones.
    for block in ["00016184ffffffff", "00016184fffffffc", "000161851fffffffff"] {
        assert_eq!(outcome(block), Err(Malformed::EndOfString), "{block}");
    }
    // Empty, coded or not.
    assert_eq!(outcome("000080"), Ok(1));
}

#[test]
fn a_list_over_the_limit_is_counted_and_left_out() {
    // Three fields of 34 bytes.
    let block = hex("400161016240016301640001650166");
    let mut fields = Fields::default();
    let mut decoder = Decoder::new();
    for (limit, kept) in [(102, 3), (101, 2), (68, 2), (67, 1), (34, 1), (33, 0), (0, 0)] {
        decoder.decode(&block, limit, &mut fields).unwrap();
        let is_too_large = kept < 3;
        assert_eq!((fields.len(), fields.list_len(), fields.is_too_large()), (kept, 102, is_too_large), "{limit}");
        assert_eq!(fields.iter().len(), kept);
    }
    // The table took part all along.
    let got = decode(&mut decoder, &hex("bebf")).unwrap();
    assert!(equal(&got, &[("c", "d"), ("a", "b")]), "{got:?}");
}

#[test]
fn an_error_leaves_no_fields() {
    let mut fields = Fields::default();
    assert_eq!(Decoder::new().decode(&hex("8280"), 0, &mut fields), Err(Malformed::Index));
    assert_eq!((fields.len(), fields.list_len(), fields.is_too_large()), (0, 0, false));
    assert!(fields.is_empty());
}

/// A connection whose table holds one field, and a field of that name, of 4,000 bytes.
fn with_large_entry() -> Decoder {
    let mut decoder = Decoder::new();
    let block = [&hex("407fa11e")[..], &[b'a'; 4000], &[0]].concat();
    assert_eq!(decode(&mut decoder, &block).unwrap()[0].0.len(), 4000);
    decoder
}

#[test]
fn a_bomb_of_references_is_counted_without_being_copied() {
    for (bomb, count) in [(vec![0xbe; 16384], 16384), ([0x0f, 0x2f, 0x00].repeat(5461), 5461)] {
        let (mut decoder, mut fields) = (with_large_entry(), Fields::default());
        decoder.decode(&bomb, 16384, &mut fields).unwrap();
        assert_eq!((fields.len(), fields.list_len()), (4, count * 4032));
        assert!(fields.is_too_large() && fields.bytes.capacity() <= 64 * 1024, "{}", fields.bytes.capacity());
        assert_eq!(decode(&mut decoder, &hex("be")).unwrap()[0].0.len(), 4000);
    }
}

#[test]
fn a_list_that_is_too_long_already_copies_no_more_names() {
    let (mut decoder, mut fields) = (with_large_entry(), Fields::default());
    decoder.decode(&hex("82820f2f00be"), 42, &mut fields).unwrap();
    assert_eq!((fields.len(), fields.list_len()), (1, 42 + 42 + 4032 + 4032));
    assert!(fields.bytes.capacity() < 4000, "{}", fields.bytes.capacity());
}

#[test]
fn a_bomb_of_insertions_keeps_the_table_small() {
    let (mut decoder, mut fields) = (with_large_entry(), Fields::default());
    decoder.decode(&[0x7e, 0x00].repeat(8192), 16384, &mut fields).unwrap();
    assert_eq!(fields.list_len(), 8192 * 4032);
    assert!(fields.bytes.capacity() <= 64 * 1024);
    assert_eq!(table_size(&decoder), 4032);
}

#[test]
fn warm_fields_and_an_unused_table_need_no_memory() {
    let block = hex("828684018cf1e3c2e5f23a6ba0ab90f4ff");
    let (mut decoder, mut fields) = (Decoder::new(), Fields::default());
    decoder.decode(&block, NO_LIMIT, &mut fields).unwrap();
    let before = (fields.bytes.capacity(), fields.bytes.as_ptr(), fields.ends.capacity(), fields.ends.as_ptr());
    for _ in 0..10 {
        decoder.decode(&block, NO_LIMIT, &mut fields).unwrap();
    }
    let after = (fields.bytes.capacity(), fields.bytes.as_ptr(), fields.ends.capacity(), fields.ends.as_ptr());
    assert_eq!(before, after);
    assert!(decoder.table.is_none());
}
