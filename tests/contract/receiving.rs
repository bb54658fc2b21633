//! Readiness and receiving.

use plasma::ring::{Errno, Ring, Socket};

use super::{Harness, Stage, buffer_of};

const IN: u32 = libc::POLLIN as u32;
const RDHUP: u32 = libc::POLLRDHUP as u32;
const HUP: u32 = libc::POLLHUP as u32;
const ERR: u32 = libc::POLLERR as u32;

/// Receives without waiting and gives the buffer back at once.
fn recv_bytes<H: Harness>(stage: &mut Stage<H>, socket: Socket) -> Vec<u8> {
    let received = stage.recv(socket);
    assert!(received.result.is_ok(), "{received:?}");
    let buffer = buffer_of(received);
    let bytes = buffer.to_vec();
    stage.ring().give_back(buffer);
    bytes
}

pub fn a_poll_reports_bytes_and_a_receive_brings_them<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let poll = stage.token();
    stage.ring().poll(socket, poll);
    stage.submit();
    for word in [&b"one"[..], b"two"] {
        stage.world.write(&mut client, word);
        let report = stage.hear(poll);
        assert_eq!((report.result.unwrap() & IN, report.more), (IN, true));
        assert_eq!(recv_bytes(&mut stage, socket), word);
        assert_eq!(stage.recv(socket).result, Err(Errno::AGAIN));
    }
    stage.close(socket);
    stage.hear_last(poll);
}

pub fn a_poll_armed_late_reports_what_is_already_there<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    stage.world.write(&mut client, b"early");
    stage.world.settle();
    let poll = stage.token();
    stage.ring().poll(socket, poll);
    assert_eq!(stage.hear(poll).result.unwrap() & IN, IN);
    stage.close(socket);
}

pub fn a_receive_waits_only_if_asked_to<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    assert_eq!(stage.recv(socket).result, Err(Errno::AGAIN));
    let patient = stage.token();
    stage.ring().recv(socket, true, patient);
    assert!(stage.heard_by_now(patient).is_none());
    stage.world.write(&mut client, b"at last");
    let received = stage.hear(patient);
    assert_eq!((received.result, received.more), (Ok(7), false));
    let buffer = buffer_of(received);
    assert_eq!(&*buffer, b"at last");
    stage.ring().give_back(buffer);

    let cancelled = stage.token();
    stage.ring().recv(socket, true, cancelled);
    stage.submit();
    stage.ring().cancel(cancelled);
    assert_eq!(stage.hear(cancelled).result, Err(Errno::CANCELED));
    stage.close(socket);
}

pub fn a_peek_takes_nothing<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let peek = |stage: &mut Stage<H>| {
        let token = stage.token();
        stage.ring().peek(socket, token);
        stage.hear(token).result
    };
    assert_eq!(peek(&mut stage), Err(Errno::AGAIN));
    stage.world.write(&mut client, b"here");
    stage.world.settle();
    assert_eq!(peek(&mut stage), Ok(1));
    assert_eq!(recv_bytes(&mut stage, socket), b"here");
    stage.world.shut_down(&mut client);
    stage.world.settle();
    assert_eq!(peek(&mut stage), Ok(0));
    stage.close(socket);
}

pub fn an_end_and_a_reset_are_told_apart<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let poll = stage.token();
    stage.ring().poll(socket, poll);
    stage.submit();
    stage.world.shut_down(&mut client);
    let bits = stage.hear(poll).result.unwrap();
    assert_eq!(bits & (IN | RDHUP | HUP | ERR), IN | RDHUP);
    assert_eq!(stage.recv(socket).result, Ok(0));
    stage.close(socket);

    let (client, socket) = stage.connected();
    let poll = stage.token();
    stage.ring().poll(socket, poll);
    stage.submit();
    stage.world.reset(client);
    let bits = stage.hear(poll).result.unwrap();
    assert_eq!(bits & (RDHUP | HUP | ERR), RDHUP | HUP | ERR);
    assert_eq!(stage.recv(socket).result, Err(Errno::CONNRESET));
    assert_eq!(stage.recv(socket).result, Ok(0), "a reset is told once");
    stage.close(socket);
}

pub fn a_dead_socket_keeps_its_poll<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (client, socket) = stage.connected();
    let poll = stage.token();
    stage.ring().poll(socket, poll);
    stage.submit();
    stage.world.reset(client);
    assert!(stage.hear(poll).more);
    while let Some(again) = stage.heard_by_now(poll) {
        assert!(again.more, "it was not cancelled yet");
    }
    stage.close(socket);
    assert_eq!(stage.hear_last(poll).result, Err(Errno::CANCELED));
}

pub fn a_cancelled_poll_completes_for_the_last_time<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let poll = stage.token();
    stage.ring().poll(socket, poll);
    stage.submit();
    stage.ring().cancel(poll);
    assert_eq!(stage.hear_last(poll).result, Err(Errno::CANCELED));
    stage.world.write(&mut client, b"unheard");
    assert!(stage.heard_by_now(poll).is_none());
    assert_eq!(recv_bytes(&mut stage, socket), b"unheard");
    stage.ring().cancel(poll);
    assert!(stage.heard_by_now(poll).is_none(), "too late is no error");
    stage.close(socket);
}

pub fn lent_out_buffers_mean_enobufs_until_one_comes_back<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let (mut client, socket) = stage.connected();
    let mut lent = Vec::new();
    let refused = loop {
        stage.world.write(&mut client, b"x");
        stage.world.settle();
        let received = stage.recv(socket);
        match received.result {
            Ok(_) => lent.push(buffer_of(received)),
            Err(error) => break error,
        }
        assert!(lent.len() < 10_000, "a ring lends few buffers");
    };
    assert_eq!(refused, Errno::NOBUFS);
    assert!(lent.iter().all(|buffer| &**buffer == b"x"), "what is lent stays as it is");
    stage.ring().give_back(lent.pop().unwrap());
    assert_eq!(recv_bytes(&mut stage, socket), b"x", "nothing was lost meanwhile");
    lent.into_iter().for_each(|buffer| stage.ring().give_back(buffer));
    stage.close(socket);
}
