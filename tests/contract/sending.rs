//! Sends at once, pending sends, zero copy.

use bytes::Bytes;
use plasma::ring::{Armed, Attached, Errno, Part, Ring};

use super::{Harness, Stage, byte_at, bytes_at, piece};

pub fn a_send_that_goes_whole_says_nothing<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let token = stage.token();
    let gather = stage.ring().gather(&[piece(100, 50)]);
    assert_eq!(gather.len, 50);
    stage.ring().send_now(socket, gather, token);
    stage.submit();
    assert_eq!(stage.read(&mut client, 50), bytes_at(100, 50));
    assert!(stage.heard_by_now(token).is_none());
    stage.close(socket);
}

pub fn a_full_socket_takes_a_part_then_nothing<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let went = stage.stuff(socket);
    assert!(went > 0);
    let again = stage.token();
    let gather = stage.ring().gather(&[piece(0, 10)]);
    stage.ring().send_now(socket, gather, again);
    stage.submit();
    assert_eq!(stage.hear(again).result, Err(Errno::AGAIN));
    // Nothing of what was said not to have gone arrives, and what went is in order.
    assert_eq!(stage.read(&mut client, went).len(), went);
    let gather = stage.ring().gather(&[piece(7, 3)]);
    let last = stage.token();
    stage.ring().send_now(socket, gather, last);
    stage.submit();
    assert_eq!(stage.read(&mut client, 3), bytes_at(7, 3));
    stage.close(socket);
}

pub fn gathered_pieces_arrive_in_order<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut first, one) = stage.connected();
    let (mut second, two) = stage.connected();
    let pieces: Vec<_> = (0..1000).map(|nth| piece((nth * 7919) % 100_000, 1 + nth % 13)).collect();
    let want: Vec<u8> = pieces.iter().flat_map(|piece| bytes_at(piece.at as usize, piece.len as usize)).collect();
    // One list serves many sockets, beside others.
    let (tokens, gather) = ([stage.token(), stage.token()], stage.ring().gather(&pieces));
    let _unused = stage.ring().gather(&[piece(0, 1), piece(5, 1)]);
    stage.ring().send_now(one, gather, tokens[0]);
    stage.ring().send_now(two, gather, tokens[1]);
    stage.submit();
    assert_eq!(stage.read(&mut first, want.len()), want);
    assert_eq!(stage.read(&mut second, want.len()), want);
    stage.close(one);
    stage.close(two);
}

pub fn a_pending_send_ends_when_the_client_reads<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let went = stage.stuff(socket);
    let send = stage.token();
    let parts = vec![Part::Shared(piece(3, 400)), Part::Own(Bytes::from_static(b"own")), Part::Shared(piece(0, 9))];
    let want = [bytes_at(3, 400), b"own".to_vec(), bytes_at(0, 9)].concat();
    stage.ring().send(socket, parts, false, send);
    assert!(stage.heard_by_now(send).is_none(), "there is no room yet");
    assert_eq!(stage.read(&mut client, went).len(), went);
    let done = stage.hear(send);
    let sent = done.result.unwrap() as usize;
    assert!(!done.more && 0 < sent && sent <= want.len());
    assert_eq!(stage.read(&mut client, sent), want[..sent]);
    stage.close(socket);
}

pub fn a_cancelled_send_says_what_went<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let went = stage.stuff(socket);
    let send = stage.token();
    let flight = stage.ring().send(socket, vec![Part::Shared(piece(0, 1 << 20))], false, send);
    stage.submit();
    stage.ring().cancel_send(flight);
    let done = stage.hear(send);
    let sent = match done.result {
        Ok(len) => len as usize,
        Err(error) => {
            assert_eq!(error, Errno::CANCELED);
            0
        }
    };
    assert!(!done.more);
    let last = stage.token();
    let got = stage.read(&mut client, went + sent);
    assert_eq!(got.len(), went + sent);
    let gather = stage.ring().gather(&[piece(11, 5)]);
    stage.ring().send_now(socket, gather, last);
    stage.submit();
    assert_eq!(stage.read(&mut client, 5), bytes_at(11, 5), "nothing of the cancelled send comes later");
    stage.close(socket);
}

pub fn a_reset_is_an_error_of_the_next_sends<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (client, socket) = stage.connected();
    stage.world.reset(client);
    stage.world.settle();
    for want in [Errno::CONNRESET, Errno::PIPE] {
        let token = stage.token();
        let gather = stage.ring().gather(&[piece(0, 5)]);
        stage.ring().send_now(socket, gather, token);
        stage.submit();
        assert_eq!(stage.hear(token).result, Err(want));
    }
    let pending = stage.token();
    stage.ring().send(socket, vec![Part::Own(Bytes::from_static(b"late"))], false, pending);
    assert_eq!(stage.hear(pending).result, Err(Errno::PIPE));
    stage.close(socket);
}

pub fn a_zero_copy_send_completes_twice<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let send = stage.token();
    stage.ring().send(socket, vec![Part::Shared(piece(0, 30_000))], true, send);
    let first = stage.hear(send);
    let sent = first.result.unwrap() as usize;
    let got = stage.read(&mut client, sent);
    assert!(got.iter().enumerate().all(|(at, &byte)| byte == byte_at(at)) && got.len() == sent);
    if first.more {
        let second = stage.hear(send);
        // Over loopback the kernel always copies in the end.
        assert!(matches!(second.attached, Attached::Released { copied: true }), "{second:?}");
        assert!(!second.more);
    }
    stage.close(socket);
}

pub fn a_stalled_reader_holds_zero_copied_memory_even_after_the_close<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let went = stage.stuff(socket);
    // Room for some of the send, behind more than the reader's side takes in unread.
    stage.read(&mut client, went / 2);
    let (send, close) = (stage.token(), stage.token());
    stage.ring().send(socket, vec![Part::Shared(piece(0, 1 << 20))], true, send);
    assert!(stage.hear(send).more);
    stage.ring().close(socket, Armed::Anything, false, close);
    assert_eq!(stage.hear(close).result, Ok(0));
    assert!(stage.heard_by_now(send).is_none(), "the bytes are on their way still");
    stage.world.reset(client);
    assert!(matches!(stage.hear(send).attached, Attached::Released { .. }));
}

pub fn a_reset_close_frees_zero_copied_memory_of_a_stalled_reader<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let went = stage.stuff(socket);
    stage.read(&mut client, went / 2);
    let (send, close) = (stage.token(), stage.token());
    stage.ring().send(socket, vec![Part::Shared(piece(0, 1 << 20))], true, send);
    assert!(stage.hear(send).more);
    assert!(stage.heard_by_now(send).is_none(), "the reader stalls");
    stage.ring().close(socket, Armed::Anything, true, close);
    assert_eq!(stage.hear(close).result, Ok(0));
    let released = stage.hear(send);
    assert!(matches!(released.attached, Attached::Released { .. }) && !released.more, "{released:?}");
}
