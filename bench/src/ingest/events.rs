//! What comes in, built beforehand: events as publishers write them, pushes as Redis does, requests over HTTP.

use std::fmt::Write;

use crate::Failure;

/// The channel subscribed to.
pub const CHANNEL: &str = "plasma";

/// What Redis answers to the subscription.
pub const ACKNOWLEDGEMENT: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$6\r\nplasma\r\n:1\r\n";

/// Line ends in one push.
pub const PUSH_LINES: u64 = 7;

/// What fills an event up to its size: words, so that no scan for a rare byte has an easier day than with real ones.
const FILLER: &str = "the quick brown fox jumps over the lazy dog, ";

/// Events of one size in each of some topics, in an order that is nobody's habit.
pub fn events(topics: &[String], size: u32) -> Result<Vec<String>, Failure> {
    // A prime that divides no sensible count of topics: every topic has its turn, none after its neighbour.
    let order = (0..topics.len()).map(|index| index * 7_919 % topics.len());
    order.map(|index| event(&topics[index], size)).collect()
}

/// One event of `size` bytes.
fn event(topic: &str, size: u32) -> Result<String, Failure> {
    let mut json = format!(r#"{{"meta":{{"type":"{topic}"}},"data":{{"id":4711,"live":true,"title":""#);
    const END: &str = r#""}}"#;
    let least = json.len() + END.len();
    let padding = (size as usize)
        .checked_sub(least)
        .ok_or_else(|| format!("an event takes at least {least} bytes, not {size}"))?;
    json.extend(FILLER.chars().cycle().take(padding));
    json.push_str(END);
    Ok(json)
}

/// A message of the channel as Redis pushes it over RESP2, the language that the link speaks.
pub fn push(event: &str) -> String {
    let mut push = String::new();
    // Writing to a string cannot fail.
    let _ = write!(push, "*3\r\n$7\r\nmessage\r\n${}\r\n{CHANNEL}\r\n${}\r\n{event}\r\n", CHANNEL.len(), event.len());
    push
}

/// A publish request with these events on a line each.
pub fn request(events: &[String]) -> Vec<u8> {
    let body = events.join("\n");
    let head = "POST /events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-ndjson\r\nContent-Length:";
    format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// What the bare loop answers to `events` events: as long as the server's own answer.
pub fn answer(events: u32) -> Vec<u8> {
    let ids = vec!["\"1877000000000000000\""; events as usize].join(",");
    let body = format!("{{\"ids\":[{ids}]}}\n");
    let head = "HTTP/1.1 202 Accepted\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: application/json\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Length of the answer that `got` begins with, once its head is there.
pub fn answer_len(got: &[u8]) -> Result<Option<usize>, String> {
    let Some(head_len) = got.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&got[..head_len]);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 202 ") {
        return Err(format!("a publish request was answered {status:?}"));
    }
    let field = lines.find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    let body_len = field.and_then(|value| value.trim().parse::<usize>().ok());
    body_len.map(|len| Some(head_len + len)).ok_or_else(|| "an answer does not say how long it is".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_their_size_and_every_topic_its_turn() {
        let topics: Vec<String> = (0..100).map(|index| format!("t{index}")).collect();
        let mut events = events(&topics, 150).expect("150 bytes are enough");
        assert!(events.iter().all(|event| event.len() == 150));
        events.sort();
        events.dedup();
        assert_eq!(events.len(), 100);
        assert!(event("a", 20).is_err());
    }

    #[test]
    fn a_push_has_the_lines_it_is_counted_by() {
        let push = push("{}");
        assert_eq!(push, "*3\r\n$7\r\nmessage\r\n$6\r\nplasma\r\n$2\r\n{}\r\n");
        assert_eq!(push.matches('\n').count() as u64, PUSH_LINES);
    }

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let bytes = answer(3);
        assert_eq!(answer_len(&bytes), Ok(Some(bytes.len())));
        assert_eq!(answer_len(&bytes[..40]), Ok(None));
        assert!(answer_len(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
        assert!(answer_len(b"HTTP/1.1 202 Accepted\r\n\r\n").is_err());
    }
}
