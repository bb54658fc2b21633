//! HPACK (RFC 7541): every representation, what no table holds, and what no decoder may take.

use super::{ROOT, open, open_ours, open_unacknowledged};
use crate::support::h2::{Code, HEADER_TABLE_SIZE, Peer, headers};
use crate::support::hpack::{
    self, INDEXING, NEVER_INDEXED, WITHOUT_INDEXING, huffman_string, indexed, integer, literal, literal_named,
    size_update, string,
};

/// Indices of the static table.
const AUTHORITY: usize = 1;
const GET: usize = 2;
const PATH: usize = 4;
const HTTP: usize = 6;
const USER_AGENT: usize = 58;

/// The first index that the static table does not have.
const FIRST_DYNAMIC: usize = 62;

/// GET, http and a host, to which a path makes a request.
fn get() -> Vec<u8> {
    [indexed(GET), indexed(HTTP), literal_named(WITHOUT_INDEXING, AUTHORITY, "localhost")].concat()
}

/// Sends a request with this block.
fn send_block(peer: &mut Peer, stream: u32, parts: &[Vec<u8>]) {
    let block = peer.raw_block(parts.concat());
    peer.send(headers(stream, block).end_headers().end_stream());
}

/// Checks that a block asks for `/hc`, with the defaults of HPACK and with what the server announced.
fn asks_for_health(parts: &[Vec<u8>]) {
    for mut session in [open_unacknowledged(), open()] {
        send_block(&mut session, 1, parts);
        session.expect_status(1, 200);
        session.serves(3);
    }
}

/// Checks that a block cannot be decoded, whatever the size of the table.
fn refused(parts: &[Vec<u8>]) {
    for mut session in [open_unacknowledged(), open()] {
        send_block(&mut session, 1, parts);
        session.expect_goaway(Code::CompressionError);
    }
}

#[test]
fn rfc7541_2_3_3_an_index_beyond_both_tables_is_an_error() {
    for index in [FIRST_DYNAMIC, 70, 127, 128, 1_000_000] {
        refused(&[get(), indexed(PATH), indexed(index)]);
    }
}

#[test]
fn rfc7541_2_3_3_a_name_beyond_both_tables_is_an_error() {
    for kind in [INDEXING, WITHOUT_INDEXING, NEVER_INDEXED] {
        refused(&[get(), indexed(PATH), literal_named(kind, FIRST_DYNAMIC, "x")]);
    }
}

#[test]
fn rfc7541_2_3_2_the_newest_entry_comes_first() {
    let mut session = open_unacknowledged();
    let entries =
        [literal_named(INDEXING, PATH, "/hc"), literal(INDEXING, "x-older", "1"), literal(INDEXING, "x", "2")];
    send_block(&mut session, 1, &[get(), entries.concat()]);
    session.expect_status(1, 200);
    send_block(&mut session, 3, &[get(), indexed(FIRST_DYNAMIC + 2), indexed(FIRST_DYNAMIC)]);
    session.expect_status(3, 200);
    send_block(&mut session, 5, &[get(), literal_named(WITHOUT_INDEXING, FIRST_DYNAMIC + 2, "/")]);
    session.expect_root(5);
    send_block(&mut session, 7, &[get(), indexed(PATH), indexed(FIRST_DYNAMIC + 3)]);
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc7541_4_1_what_the_server_announced_has_no_entries() {
    let Some(mut session) = open_ours() else { return };
    send_block(&mut session, 1, &[get(), literal_named(INDEXING, PATH, "/hc")]);
    session.expect_status(1, 200);
    send_block(&mut session, 3, &[get(), indexed(FIRST_DYNAMIC)]);
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc7541_4_2_a_size_update_at_the_end_of_a_block_is_an_error() {
    refused(&[get(), indexed(PATH), size_update(0)]);
}

#[test]
fn rfc7541_4_2_a_size_update_within_a_block_is_an_error() {
    refused(&[indexed(GET), size_update(0), indexed(HTTP), indexed(PATH)]);
}

#[test]
fn rfc7541_4_2_a_size_update_may_begin_a_block() {
    asks_for_health(&[size_update(0), get(), literal_named(INDEXING, PATH, "/hc")]);
}

/// Clients there are that never look at SETTINGS_HEADER_TABLE_SIZE and go on with the table that they began with.
#[test]
fn rfc7541_4_2_who_does_not_say_a_size_is_understood_by_the_one_before() {
    let Some(mut session) = open_ours() else { return };
    let blocks = [[get(), literal_named(INDEXING, PATH, "/hc")].concat(), [get(), indexed(FIRST_DYNAMIC)].concat()];
    for (stream, block) in [1, 3].into_iter().zip(blocks) {
        session.send(headers(stream, block).end_headers().end_stream());
        session.expect_status(stream, 200);
    }
}

#[test]
fn rfc7541_4_2_two_size_updates_may_begin_a_block() {
    let mut session = open_unacknowledged();
    send_block(&mut session, 1, &[size_update(0), size_update(4096), get(), literal_named(INDEXING, PATH, "/hc")]);
    session.expect_status(1, 200);
    send_block(&mut session, 3, &[get(), indexed(FIRST_DYNAMIC)]);
    session.expect_status(3, 200);
}

#[test]
fn rfc7541_4_2_a_size_update_may_come_with_every_block() {
    let mut session = open_unacknowledged();
    for (stream, size) in [(1, 4096), (3, 100), (5, 0), (7, 4096)] {
        send_block(&mut session, stream, &[size_update(size), get(), literal_named(INDEXING, PATH, "/hc")]);
        session.expect_status(stream, 200);
    }
}

#[test]
fn rfc7541_4_3_a_size_update_evicts() {
    let mut session = open_unacknowledged();
    send_block(&mut session, 1, &[get(), literal_named(INDEXING, PATH, "/hc")]);
    session.expect_status(1, 200);
    send_block(&mut session, 3, &[size_update(0), size_update(4096), get(), indexed(FIRST_DYNAMIC)]);
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc7541_4_3_a_size_update_keeps_what_fits() {
    let mut session = open_unacknowledged();
    let entries = [literal_named(INDEXING, PATH, "/hc"), literal(INDEXING, "x-new", "123")];
    send_block(&mut session, 1, &[get(), entries.concat()]);
    session.expect_status(1, 200);
    // Both are of 40 octets, 32 of them for being an entry; the older one goes.
    send_block(&mut session, 3, &[size_update(40), get(), indexed(PATH), indexed(FIRST_DYNAMIC)]);
    session.expect_root(3);
    send_block(&mut session, 5, &[get(), indexed(PATH), indexed(FIRST_DYNAMIC + 1)]);
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc7541_4_4_an_entry_that_is_too_large_empties_the_table() {
    let mut session = open_unacknowledged();
    send_block(&mut session, 1, &[get(), literal_named(INDEXING, PATH, "/hc")]);
    session.expect_status(1, 200);
    let large = "x".repeat(4096);
    send_block(&mut session, 3, &[get(), indexed(FIRST_DYNAMIC), literal(INDEXING, "x", large)]);
    session.expect_status(3, 200);
    send_block(&mut session, 5, &[get(), indexed(FIRST_DYNAMIC)]);
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc7541_4_4_an_entry_may_be_named_after_one_that_it_evicts() {
    let mut session = open_unacknowledged();
    send_block(&mut session, 1, &[size_update(64), get(), literal_named(INDEXING, PATH, "/hc")]);
    session.expect_status(1, 200);
    send_block(&mut session, 3, &[get(), literal_named(INDEXING, FIRST_DYNAMIC, "/")]);
    session.expect_root(3);
    send_block(&mut session, 5, &[get(), indexed(FIRST_DYNAMIC)]);
    session.expect_root(5);
}

#[test]
fn rfc7541_4_4_entries_are_evicted_oldest_first() {
    let mut session = open_unacknowledged();
    send_block(&mut session, 1, &[get(), literal_named(INDEXING, PATH, "/hc")]);
    session.expect_status(1, 200);
    // Of 40 octets the first, of 1,000 each of these: four fit, and the fifth sends the first away.
    let value = "v".repeat(1000 - 32 - 1);
    for count in 0..4 {
        let stream = 3 + 2 * count;
        send_block(
            &mut session,
            stream,
            &[get(), indexed(FIRST_DYNAMIC + count as usize), literal(INDEXING, "x", &value)],
        );
        session.expect_status(stream, 200);
    }
    send_block(&mut session, 21, &[get(), indexed(FIRST_DYNAMIC + 4), literal(INDEXING, "x", &value)]);
    session.expect_status(21, 200);
    send_block(&mut session, 23, &[get(), indexed(FIRST_DYNAMIC + 5)]);
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc7541_5_1_a_number_without_an_end_is_an_error() {
    refused(&[get(), indexed(PATH), vec![0xFF, 0xFF, 0xFF]]);
    refused(&[get(), indexed(PATH), vec![0x00, 0x7F, 0x80]]);
}

#[test]
fn rfc7541_5_1_a_number_that_is_too_large_is_an_error() {
    refused(&[get(), indexed(PATH), [vec![0xFF; 12], vec![0x7F]].concat()]);
    refused(&[get(), indexed(PATH), vec![0xFF, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]]);
    refused(&[get(), indexed(PATH), vec![0x00, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]]);
}

#[test]
fn rfc7541_5_2_a_string_beyond_the_end_of_its_block_is_an_error() {
    refused(&[get(), integer(WITHOUT_INDEXING, PATH), vec![4, b'/', b'h', b'c']]);
    refused(&[get(), vec![0x00, 3, b'x', b'y']]);
    refused(&[get(), integer(WITHOUT_INDEXING, PATH), vec![0x7F, 0x00, b'/']]);
    refused(&[get(), integer(WITHOUT_INDEXING, PATH)]);
    refused(&[get(), integer(WITHOUT_INDEXING, PATH), vec![0x84, 0x60]]);
}

#[test]
fn rfc7541_5_2_huffman_padding_of_more_than_7_bits_is_an_error() {
    // "www.example.com", and one octet of ones too many.
    let long = [hpack::huffman(b"www.example.com"), vec![0xFF]].concat();
    refused(&[get(), indexed(PATH), integer(WITHOUT_INDEXING, AUTHORITY), integer((0x80, 7), long.len()), long]);
    // A string that is nothing but eight bits of padding.
    refused(&[get(), indexed(PATH), integer(WITHOUT_INDEXING, AUTHORITY), vec![0x81, 0xFF]]);
}

#[test]
fn rfc7541_5_2_huffman_padding_that_is_not_ones_is_an_error() {
    // The first of the bits that pad, or the last: no letter ends there, so the code itself is not what is wrong.
    for (text, mask) in [("test", 0xF7), ("test", 0xFE), ("/hc", 0xFE)] {
        let mut code = hpack::huffman(text.as_bytes());
        *code.last_mut().expect("a code") &= mask;
        assert!(hpack::unhuffman(&code).is_err_and(|error| error.contains("padding")), "{text} {mask:x}");
        refused(&[get(), indexed(PATH), integer(WITHOUT_INDEXING, USER_AGENT), integer((0x80, 7), code.len()), code]);
    }
}

#[test]
fn rfc7541_5_2_eos_in_a_string_is_an_error() {
    // Thirty ones are EOS, alone and behind a letter.
    refused(&[get(), indexed(PATH), integer(WITHOUT_INDEXING, USER_AGENT), vec![0x84, 0xFF, 0xFF, 0xFF, 0xFF]]);
    let behind = [hpack::huffman(b"0123456789abcdef"), vec![0xFF; 4]].concat();
    refused(&[get(), indexed(PATH), integer(WITHOUT_INDEXING, USER_AGENT), integer((0x80, 7), behind.len()), behind]);
}

#[test]
fn rfc7541_5_2_every_octet_has_a_code() {
    for mut session in [open_unacknowledged(), open()] {
        // All that may stand in a value.
        let value: Vec<u8> = (0x21..=0xFF).filter(|octet| *octet != 0x7F).collect();
        let field = [integer(WITHOUT_INDEXING, USER_AGENT), huffman_string(&value)].concat();
        send_block(&mut session, 1, &[get(), literal_named(WITHOUT_INDEXING, PATH, "/hc"), field]);
        session.expect_status(1, 200);
    }
}

#[test]
fn rfc7541_5_2_an_empty_string_in_the_huffman_code_is_empty() {
    let field = [integer(WITHOUT_INDEXING, USER_AGENT), huffman_string("")].concat();
    asks_for_health(&[get(), literal_named(WITHOUT_INDEXING, PATH, "/hc"), field]);
}

#[test]
fn rfc7541_6_1_index_0_is_an_error() {
    refused(&[get(), indexed(PATH), vec![0x80]]);
    refused(&[vec![0x80], get(), indexed(PATH)]);
}

#[test]
fn rfc7541_6_1_indexed_fields_are_those_of_the_static_table() {
    for mut session in [open_unacknowledged(), open()] {
        send_block(&mut session, 1, &[get(), indexed(PATH)]);
        session.expect_root(1);
        // The last of the table, among others.
        send_block(&mut session, 3, &[get(), indexed(PATH), indexed(16), indexed(61)]);
        session.expect_root(3);
    }
}

#[test]
fn rfc7541_6_2_1_literals_with_indexing_and_an_indexed_name() {
    asks_for_health(&[get(), literal_named(INDEXING, PATH, "/hc")]);
}

#[test]
fn rfc7541_6_2_1_literals_with_indexing_and_an_indexed_name_in_the_huffman_code() {
    asks_for_health(&[get(), integer(INDEXING, PATH), huffman_string("/hc")]);
}

#[test]
fn rfc7541_6_2_1_literals_with_indexing_and_a_new_name() {
    asks_for_health(&[get(), literal(INDEXING, ":path", "/hc"), literal(INDEXING, "x-new", "value")]);
}

#[test]
fn rfc7541_6_2_1_literals_with_indexing_and_a_new_name_in_the_huffman_code() {
    asks_for_health(&[get(), integer(INDEXING, 0), huffman_string(":path"), huffman_string("/hc")]);
}

#[test]
fn rfc7541_6_2_2_literals_without_indexing_and_an_indexed_name() {
    asks_for_health(&[get(), literal_named(WITHOUT_INDEXING, PATH, "/hc"), literal_named(WITHOUT_INDEXING, 58, "x")]);
}

#[test]
fn rfc7541_6_2_2_literals_without_indexing_and_an_indexed_name_in_the_huffman_code() {
    asks_for_health(&[get(), integer(WITHOUT_INDEXING, PATH), huffman_string("/hc")]);
}

#[test]
fn rfc7541_6_2_2_literals_without_indexing_and_a_new_name() {
    asks_for_health(&[get(), literal(WITHOUT_INDEXING, ":path", "/hc")]);
}

#[test]
fn rfc7541_6_2_2_literals_without_indexing_and_a_new_name_in_the_huffman_code() {
    asks_for_health(&[get(), integer(WITHOUT_INDEXING, 0), huffman_string(":path"), huffman_string("/hc")]);
}

#[test]
fn rfc7541_6_2_3_literals_never_indexed_and_an_indexed_name() {
    asks_for_health(&[get(), literal_named(NEVER_INDEXED, PATH, "/hc")]);
}

#[test]
fn rfc7541_6_2_3_literals_never_indexed_and_an_indexed_name_in_the_huffman_code() {
    asks_for_health(&[get(), integer(NEVER_INDEXED, PATH), huffman_string("/hc")]);
}

#[test]
fn rfc7541_6_2_3_literals_never_indexed_and_a_new_name() {
    asks_for_health(&[get(), literal(NEVER_INDEXED, ":path", "/hc")]);
}

#[test]
fn rfc7541_6_2_3_literals_never_indexed_and_a_new_name_in_the_huffman_code() {
    asks_for_health(&[get(), integer(NEVER_INDEXED, 0), huffman_string(":path"), huffman_string("/hc")]);
}

#[test]
fn rfc7541_6_2_only_literals_with_indexing_make_entries() {
    for kind in [WITHOUT_INDEXING, NEVER_INDEXED] {
        let mut session = open_unacknowledged();
        send_block(&mut session, 1, &[get(), literal_named(kind, PATH, "/hc")]);
        session.expect_status(1, 200);
        send_block(&mut session, 3, &[get(), indexed(FIRST_DYNAMIC)]);
        session.expect_goaway(Code::CompressionError);
    }
}

#[test]
fn rfc7541_6_3_a_size_update_above_the_first_limit_is_an_error() {
    let mut session = open_unacknowledged();
    send_block(&mut session, 1, &[size_update(4097), get(), indexed(PATH)]);
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc7541_6_3_a_size_update_above_the_announced_limit_is_an_error() {
    let mut session = open();
    let limit = session.setting(HEADER_TABLE_SIZE).unwrap_or(4096) as usize;
    send_block(&mut session, 1, &[size_update(limit + 1), get(), indexed(PATH)]);
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc7541_6_3_a_size_update_up_to_the_announced_limit_is_taken() {
    let mut session = open();
    let limit = session.setting(HEADER_TABLE_SIZE).unwrap_or(4096) as usize;
    send_block(&mut session, 1, &[size_update(limit), get(), indexed(PATH)]);
    session.expect_root(1);
}

#[test]
fn rfc7541_c_3_the_examples_are_understood() {
    examples([
        b"\x82\x86\x84\x41\x0Fwww.example.com",
        b"\x82\x86\x84\xBE\x58\x08no-cache",
        b"\x82\x87\x85\xBF\x40\x0Acustom-key\x0Ccustom-value",
    ]);
}

#[test]
fn rfc7541_c_4_the_examples_in_the_huffman_code_are_understood() {
    examples([
        b"\x82\x86\x84\x41\x8C\xF1\xE3\xC2\xE5\xF2\x3A\x6B\xA0\xAB\x90\xF4\xFF",
        b"\x82\x86\x84\xBE\x58\x86\xA8\xEB\x10\x64\x9C\xBF",
        b"\x82\x87\x85\xBF\x40\x88\x25\xA8\x49\xE9\x5B\xA9\x7D\x7F\x89\x25\xA8\x49\xE9\x5B\xB8\xE8\xB4\xBF",
    ]);
}

/// Plays the three requests of an appendix, each of which needs the tables that the one before it left.
fn examples(blocks: [&[u8]; 3]) {
    let mut session = open_unacknowledged();
    for (stream, block) in [1, 3].into_iter().zip(blocks) {
        send_block(&mut session, stream, &[block.to_vec()]);
        session.expect_root(stream);
    }
    // Asks for https and /index.html.
    send_block(&mut session, 5, &[blocks[2].to_vec()]);
    session.expect_status(5, 404);
    // Newest first: custom-key, cache-control, :authority.
    send_block(&mut session, 7, &[indexed(GET), indexed(HTTP), indexed(PATH), indexed(64), indexed(63), indexed(62)]);
    session.expect_root(7);
    send_block(&mut session, 9, &[get(), indexed(PATH), indexed(65)]);
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc7541_7_3_the_octets_of_a_long_field_are_all_read() {
    for mut session in [open_unacknowledged(), open()] {
        for (stream, len) in [(1, 126), (3, 127), (5, 128), (7, 254), (9, 255), (11, 10_000)] {
            let value = string("v".repeat(len));
            send_block(&mut session, stream, &[hpack::plain(ROOT), integer(WITHOUT_INDEXING, USER_AGENT), value]);
            session.expect_root(stream);
        }
    }
}
