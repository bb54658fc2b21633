//! What clients really sent, recorded on a socket: Chromium 156 opening an `EventSource` over HTTP/1.1 and over HTTP/2,
//! and grpcio 1.85 calling `proto.StreamService/Events` with one request for three topics.

use plasma::wire::h2::PREFACE;
use plasma::wire::h2::frame::{HEAD_LEN, Head, Kind, PRIORITY};

/// Chromium's request head over HTTP/1.1, cookies included.
pub const CHROME_HEAD: &[u8] = include_bytes!("../../vectors/chrome.http1");

/// The request head of `curl -N` with one field of its own.
pub const CURL_HEAD: &[u8] =
    b"GET /?eventType=program:1234 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8.14.1\r\n\
    Accept: text/event-stream\r\n\r\n";

/// Chromium's opening over HTTP/2: preface, SETTINGS, WINDOW_UPDATE, HEADERS, and the acknowledgement of SETTINGS.
pub const CHROME_OPENING: &[u8] = include_bytes!("../../vectors/chrome.h2");

/// The opening of grpcio: preface, SETTINGS, WINDOW_UPDATE, HEADERS, acknowledgements, and DATA with the request.
pub const GRPCIO_OPENING: &[u8] = include_bytes!("../../vectors/grpcio.h2");

/// Frames of an opening, each with its payload.
pub fn frames(opening: &[u8]) -> impl Iterator<Item = (Head, &[u8])> {
    let mut rest = &opening[PREFACE.len()..];
    std::iter::from_fn(move || {
        let head = Head::parse(rest)?;
        let payload = &rest[HEAD_LEN..HEAD_LEN + head.len];
        rest = &rest[HEAD_LEN + head.len..];
        Some((head, payload))
    })
}

/// The only field block of an opening.
pub fn block(opening: &'static [u8]) -> &'static [u8] {
    let (head, payload) =
        frames(opening).find(|(head, _)| head.kind == Kind::Headers).expect("an opening has a request");
    // Five bytes of priority precede the block where the flag says so (RFC 9113 §6.2).
    if head.has(PRIORITY) { &payload[5..] } else { payload }
}

/// The only DATA of an opening that holds something.
pub fn data(opening: &'static [u8]) -> &'static [u8] {
    let mut data = frames(opening).filter(|(head, _)| head.kind == Kind::Data && head.len > 0);
    data.next().expect("an opening has a message").1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_openings_are_whole_frames() {
        for opening in [CHROME_OPENING, GRPCIO_OPENING] {
            assert!(opening.starts_with(PREFACE));
            let len: usize = frames(opening).map(|(_, payload)| HEAD_LEN + payload.len()).sum();
            assert_eq!(PREFACE.len() + len, opening.len());
        }
    }

    #[test]
    fn blocks_and_messages_are_where_they_are_looked_for() {
        // `:method: GET` and `:scheme: http` as their indexes (RFC 7541, Appendix A); a name of two bytes.
        assert_eq!(block(CHROME_OPENING)[0], 0x82);
        assert!(block(GRPCIO_OPENING).starts_with(b"\x40\x05:path"));
        assert!(data(GRPCIO_OPENING).ends_with(b"notifications"));
    }
}
