//! Connections outward, and names.

use bytes::Bytes;
use plasma::ring::{Attached, Errno, Part, Ring};

use super::{Harness, Read, Stage, buffer_of};

pub fn a_connection_is_made_and_carries_bytes<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let to = stage.world.server();
    let (connect, send, recv) = (stage.token(), stage.token(), stage.token());
    let socket = stage.ring().open(&to).unwrap();
    stage.ring().connect(socket, to, connect);
    let connected = stage.hear(connect);
    assert_eq!((connected.result, connected.more), (Ok(0), false));
    let mut server = stage.world.accept();
    stage.ring().send(socket, vec![Part::Own(Bytes::from_static(b"PING\r\n"))], false, send);
    assert_eq!(stage.hear(send).result, Ok(6));
    assert_eq!(stage.world.read(&mut server), Read::Bytes(b"PING\r\n".to_vec()));
    stage.ring().recv(socket, true, recv);
    stage.submit();
    stage.world.write(&mut server, b"+PONG\r\n");
    let received = stage.hear(recv);
    let buffer = buffer_of(received);
    assert_eq!(&*buffer, b"+PONG\r\n");
    stage.ring().give_back(buffer);
    stage.close(socket);
    assert_eq!(stage.world.read(&mut server), Read::End);
}

pub fn nobody_there_is_an_error<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let to = stage.world.nobody();
    let connect = stage.token();
    let socket = stage.ring().open(&to).unwrap();
    stage.ring().connect(socket, to, connect);
    assert_eq!(stage.hear(connect).result, Err(Errno::CONNREFUSED));
    stage.close(socket);
}

pub fn localhost_is_found<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let token = stage.token();
    stage.ring().resolve("localhost", 6379, token);
    match stage.hear(token).attached {
        Attached::Addresses(found) => {
            assert!(!found.is_empty());
            assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 6379), "{found:?}");
        }
        other => panic!("{other:?}"),
    }
}

pub fn an_unknown_name_is_an_error<H: Harness>() {
    let mut stage = Stage::<H>::new(8);
    let token = stage.token();
    stage.ring().resolve("no-such-host.invalid", 6379, token);
    let answer = stage.hear(token);
    assert!(answer.result.is_err() && !answer.more, "{answer:?}");
}
