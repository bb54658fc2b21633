//! Listeners, the table of sockets, and waiting.

use std::time::Duration;

use plasma::ring::{Armed, Attached, Errno, Ring, Socket};

use super::{Harness, LISTENER, Read, Stage};

pub fn a_client_is_accepted_with_its_address<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (client, socket) = stage.connected();
    let token = stage.token();
    stage.ring().peer(socket, token);
    match stage.hear(token).attached {
        Attached::Peer(addr) => assert_eq!(addr, stage.world.addr_of(&client)),
        // A kernel that cannot tell says so.
        Attached::Nothing => {}
        other => panic!("{other:?}"),
    }
    stage.close(socket);
}

pub fn a_bell_ends_a_wait<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (before, far) = (stage.ring().now(), Duration::from_secs(3));
    stage.world.ring_bell();
    stage.world.wait(before + far);
    assert!(stage.ring().now().since(before) < far, "the bell was not heard");
    assert!(stage.ring().next().is_none(), "a bell is no completion");
}

pub fn a_wait_ends_at_its_deadline<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let deadline = stage.ring().now() + Duration::from_millis(30);
    let millis = stage.ring().unix_millis();
    while stage.ring().now() < deadline {
        stage.world.wait(deadline);
    }
    assert!(stage.ring().now().since(deadline) < Duration::from_secs(1));
    assert!(stage.ring().unix_millis() >= millis + 29, "both clocks go on");
    assert!(stage.ring().next().is_none());
}

pub fn a_cancelled_accept_completes_for_the_last_time<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let token = stage.token();
    stage.ring().accept(LISTENER, token);
    stage.submit();
    stage.ring().cancel(token);
    let last = stage.hear_last(token);
    assert_eq!(last.result, Err(Errno::CANCELED));
    // Whoever comes now waits until the listener is armed again.
    let mut client = stage.world.dial();
    stage.world.write(&mut client, b"hello");
    let (_other, first) = stage.connected();
    stage.close(first);
}

pub fn a_full_table_closes_the_client_and_ends_the_accept<H: Harness>() {
    let mut stage = Stage::<H>::new(2);
    let token = stage.token();
    stage.ring().accept(LISTENER, token);
    stage.submit();
    let _first = stage.world.dial();
    let _second = stage.world.dial();
    let sockets = [0, 1].map(|_| Socket(stage.hear(token).result.unwrap()));
    assert_ne!(sockets[0], sockets[1]);
    let mut third = stage.world.dial();
    let last = stage.hear(token);
    assert_eq!((last.result, last.more), (Err(Errno::NFILE), false));
    assert!(matches!(stage.world.read(&mut third), Read::End | Read::Reset));
    sockets.into_iter().for_each(|socket| stage.close(socket));
}

pub fn a_closed_slot_is_handed_out_again<H: Harness>() {
    let mut stage = Stage::<H>::new(1);
    let mut first = None;
    for _ in 0..3 {
        let (mut client, socket) = stage.connected();
        assert_eq!(socket, *first.get_or_insert(socket));
        stage.close(socket);
        assert_eq!(stage.world.read(&mut client), Read::End);
    }
}

pub fn a_reset_close_is_seen_as_a_reset<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut reader, socket) = stage.connected();
    let (poll, close) = (stage.token(), stage.token());
    stage.ring().poll(socket, poll);
    stage.submit();
    stage.ring().close(socket, Armed::Anything, true, close);
    assert_eq!(stage.hear(close).result, Ok(0));
    assert_eq!(stage.hear_last(poll).result, Err(Errno::CANCELED));
    assert_eq!(stage.world.read(&mut reader), Read::Reset);

    // Its place is free again, and nothing of the reset clings to it.
    let (mut client, socket) = stage.connected();
    stage.close(socket);
    assert_eq!(stage.world.read(&mut client), Read::End);
}

pub fn a_reset_close_throws_away_what_was_not_read<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut reader, socket) = stage.connected();
    let went = stage.stuff(socket);
    let (send, close) = (stage.token(), stage.token());
    stage.ring().send(socket, vec![plasma::ring::Part::Shared(super::piece(0, 1000))], false, send);
    stage.submit();
    stage.ring().close(socket, Armed::Anything, true, close);
    assert_eq!(stage.hear(close).result, Ok(0));
    assert!(!stage.hear_last(send).more);
    // What had reached the reader may still be read, but never an orderly end.
    let mut got = 0;
    let last = loop {
        match stage.world.read(&mut reader) {
            Read::Bytes(bytes) => got += bytes.len(),
            other => break other,
        }
    };
    assert_eq!(last, Read::Reset);
    assert!(got <= went, "{got} of {went}");
}

pub fn close_ends_every_op_and_the_client_sees_it_at_once<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let (poll, recv, close) = (stage.token(), stage.token(), stage.token());
    stage.ring().poll(socket, poll);
    stage.ring().recv(socket, true, recv);
    stage.submit();
    stage.ring().close(socket, Armed::Anything, false, close);
    assert_eq!(stage.hear(close).result, Ok(0));
    assert_eq!(stage.hear_last(poll).result, Err(Errno::CANCELED));
    assert_eq!(stage.hear_last(recv).result, Err(Errno::CANCELED));
    assert_eq!(stage.world.read(&mut client), Read::End);

    let (mut reader, socket) = stage.connected();
    let went = stage.stuff(socket);
    let (send, close) = (stage.token(), stage.token());
    let part = plasma::ring::Part::Shared(super::piece(0, 1000));
    stage.ring().send(socket, vec![part], false, send);
    stage.submit();
    stage.ring().close(socket, Armed::Anything, false, close);
    assert_eq!(stage.hear(close).result, Ok(0));
    let last = stage.hear_last(send);
    let sent = match last.result {
        Ok(len) => len as usize,
        Err(error) => {
            assert_eq!(error, Errno::CANCELED);
            0
        }
    };
    assert_eq!(stage.read(&mut reader, went + 1001).len(), went + sent);
    assert_eq!(stage.world.read(&mut reader), Read::End);
}
