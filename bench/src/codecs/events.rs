//! The events that are published here.

use std::fmt::Write;

/// The event type: three levels, so three topics.
pub const KIND: &str = "program:1234:views";

/// An event of exactly `len` bytes as a publisher writes it: as many small objects as fit, then a note.
pub fn published(len: usize) -> Vec<u8> {
    format!("{{\"meta\":{{\"type\":\"{KIND}\"}},\"data\":{}}}", data(len - around())).into_bytes()
}

/// The data of an event of `len` bytes.
pub fn data_of(len: usize) -> String {
    data(len - around())
}

/// Bytes of an event that are not its data.
fn around() -> usize {
    "{\"meta\":{\"type\":\"\"},\"data\":}".len() + KIND.len()
}

fn data(len: usize) -> String {
    const END: &str = "],\"note\":\"\"}";
    let mut text = String::from("{\"items\":[");
    for number in 0.. {
        let before = text.len();
        let comma = if number == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{{\"id\":{},\"name\":\"Item {number}\",\"share\":0.25}}", 48_213 + number);
        if text.len() + END.len() > len {
            text.truncate(before);
            break;
        }
    }
    let note = "x".repeat(len - text.len() - END.len());
    text + &END.replace("\"\"", &format!("\"{note}\""))
}

#[cfg(test)]
mod tests {
    use plasma::wire::envelope;

    use super::*;

    #[test]
    fn events_are_as_long_as_they_should_be_and_well_formed() {
        for len in [120, 150, 4096] {
            let event = published(len);
            assert_eq!(event.len(), len);
            let envelope = envelope::parse(&event).expect("it is an event");
            assert_eq!((&*envelope.kind, envelope.data.as_deref()), (KIND, Some(data_of(len).as_str())));
        }
    }
}
