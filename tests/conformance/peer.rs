//! The peer itself: its frames and its HPACK, held against the examples of the RFCs.

use crate::support::h2::{self, Code, data, headers, settings};
use crate::support::hpack::{self, Decoder, INDEXING, SIZE_UPDATE};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("two digits");
    digits.chunks(2).map(octet).collect()
}

fn names_and_values(fields: &[(&str, &str)]) -> Vec<hpack::Field> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn frames_are_laid_out_as_in_section_4() {
    assert_eq!(data(1, "ab").end_stream().bytes(), hex("000002 00 01 00000001 6162"));
    assert_eq!(data(3, "a").padded(2).bytes(), hex("000004 00 08 00000003 02 61 0000"));
    let frame = headers(5, [0x82]).depending(3, 15).padded(1).end_headers();
    assert_eq!(frame.bytes(), hex("000008 01 2c 00000005 01 00000003 0f 82 00"));
    assert_eq!(settings(&[(h2::INITIAL_WINDOW_SIZE, 1)]).bytes(), hex("000006 04 00 00000000 0004 00000001"));
    assert_eq!(h2::reset(1, Code::EnhanceYourCalm).payload, hex("0000000b"));
    assert_eq!(h2::reset(1, Code::Unknown(0x1234)).payload, hex("00001234"));
    assert_eq!(h2::goaway(7, Code::ProtocolError).bytes(), hex("000008 07 00 00000000 00000007 00000001"));
}

#[test]
fn integers_are_those_of_rfc7541_c_1() {
    assert_eq!(hpack::integer((0, 5), 10), hex("0a"));
    assert_eq!(hpack::integer((0, 5), 1337), hex("1f9a0a"));
    assert_eq!(hpack::integer((0, 8), 42), hex("2a"));
    assert_eq!(hpack::integer(SIZE_UPDATE, 4096), hex("3fe11f"));
}

#[test]
fn huffman_code_is_that_of_rfc7541_c_4() {
    let pairs = [
        ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
        ("no-cache", "a8eb10649cbf"),
        ("custom-key", "25a849e95ba97d7f"),
        ("custom-value", "25a849e95bb8e8b4bf"),
        ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
        (
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ),
    ];
    for (text, code) in pairs {
        assert_eq!(hpack::huffman(text.as_bytes()), hex(code), "{text}");
        assert_eq!(hpack::unhuffman(&hex(code)).as_deref(), Ok(text.as_bytes()));
    }
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(hpack::unhuffman(&hpack::huffman(&all)), Ok(all));
    for fault in ["ffffffff", "f1e3c2e5f23a6ba0ab90f4ffff", "00"] {
        assert!(hpack::unhuffman(&hex(fault)).is_err(), "{fault}");
    }
}

#[test]
fn blocks_are_read_as_in_rfc7541_c_5_and_c_6() {
    let (date, later) = ("Mon, 21 Oct 2013 20:13:21 GMT", "Mon, 21 Oct 2013 20:13:22 GMT");
    let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let rest = |date| [("cache-control", "private"), ("date", date), ("location", "https://www.example.com")];
    let wanted = [
        [&[(":status", "302")], &rest(date)[..]].concat(),
        [&[(":status", "307")], &rest(date)[..]].concat(),
        vec![
            (":status", "200"),
            ("cache-control", "private"),
            ("date", later),
            ("location", "https://www.example.com"),
            ("content-encoding", "gzip"),
            ("set-cookie", cookie),
        ],
    ];
    let plain = [
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f\
         7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d415344\
         4a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ];
    let coded = [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960\
         d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        // The examples evict: their table holds 256 octets.
        assert_eq!(decoder.decode(&hpack::size_update(256)), Ok(Vec::new()));
        for (block, fields) in blocks.iter().zip(&wanted) {
            assert_eq!(decoder.decode(&hex(block)), Ok(names_and_values(fields)));
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let fields = [(":method", "GET"), ("a", ""), ("b", "c")];
    assert_eq!(Decoder::default().decode(&hpack::plain(&fields)), Ok(names_and_values(&fields)));
    let long = "x".repeat(300);
    let block = [hpack::literal(INDEXING, "a", &long), hpack::indexed(62)].concat();
    assert_eq!(Decoder::default().decode(&block), Ok(names_and_values(&[("a", &long), ("a", &long)])));
    assert!(Decoder::default().decode(&hpack::indexed(62)).is_err());
    assert!(Decoder::default().decode(&hpack::indexed(0)).is_err());
    let late = [hpack::indexed(2), hpack::size_update(0)].concat();
    assert!(Decoder::default().decode(&late).is_err());
}
