//! What publishers send: `{"meta":{"type":"<event type>"},"data":<any JSON>}`.
//!
//! As forgiving as the original: keys in any case, unknown ones ignored, of duplicates the last wins (`null` never
//! undoes a type), `null` and `{}` are events of the empty type. Bytes that are no UTF-8 become U+FFFD, one each.
//!
//! No copy for valid UTF-8. Values are skipped without recursion, however deep they nest. What nearly every publisher
//! writes, `meta` with a type and then `data`, is recognised by its spelling; whatever else there is, and whatever is
//! wrong, takes the long way.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::limits::{PUBLISH_EVENTS_MAX, TOPIC_LEN_MAX};

/// One event as it was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The event type: `meta.type`.
    pub kind: Cow<'a, str>,
    /// The JSON text of `data`, spelled as it came; `None` when there was none.
    pub data: Option<Cow<'a, str>>,
}

/// Why something is no event, in words for its publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

/// Why a publish request is refused: its first bad event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEvent {
    /// Its place in the request, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: String,
    /// Whether a bound was crossed (413) or the event is malformed (400).
    pub too_large: bool,
}

/// Parses one event and nothing else.
pub fn parse(bytes: &[u8]) -> Result<Envelope<'_>, Malformed> {
    match lossy(bytes) {
        Cow::Borrowed(text) => match plain(text) {
            Some(envelope) => Ok(envelope),
            None => serde_json::from_str::<Parts>(text)?.envelope(),
        },
        Cow::Owned(text) => serde_json::from_str::<Parts>(&text)?.envelope().map(Envelope::into_owned),
    }
}

/// Parses the event that `bytes` begin with; what follows it does not matter.
pub fn parse_first(bytes: &[u8]) -> Result<Envelope<'_>, Malformed> {
    fn first(text: &str) -> Result<Envelope<'_>, Malformed> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Parts>();
        values.next().ok_or_else(|| Malformed("there is no event".into()))??.envelope()
    }
    match lossy(bytes) {
        Cow::Borrowed(text) => first(text),
        Cow::Owned(text) => first(&text).map(Envelope::into_owned),
    }
}

/// Parses the body of a publish request: one event, a JSON array of events, or events on lines of their own. An event
/// may span lines; blank lines do not count. All of them are good and of at most `event_max` bytes, or none is taken.
pub fn publish_body(bytes: &[u8], event_max: usize) -> Result<Vec<Envelope<'_>>, BadEvent> {
    match lossy(bytes) {
        Cow::Borrowed(text) => Batch::parse(text, event_max),
        Cow::Owned(text) => {
            let events = Batch::parse(&text, event_max)?;
            Ok(events.into_iter().map(Envelope::into_owned).collect())
        }
    }
}

impl Envelope<'_> {
    /// The same event, borrowing nothing.
    pub fn into_owned(self) -> Envelope<'static> {
        Envelope { kind: Cow::Owned(self.kind.into_owned()), data: self.data.map(|data| Cow::Owned(data.into_owned())) }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// White space between the tokens of JSON.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// The event that `text` is, if it is spelled `{"meta":{"type":"…"},"data":…}` with nothing else in it, no escape in
/// its type, and blanks wherever they may stand. Of anything else this says nothing.
///
/// PERF: saves a sixth of what an event costs on its way into the log (`bench ingest --scenarios redis`).
fn plain(text: &str) -> Option<Envelope<'_>> {
    let opening = ["{", "\"meta\"", ":", "{", "\"type\"", ":", "\""];
    let text = opening.into_iter().try_fold(text, after)?;
    let end = text.bytes().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
    let (kind, text) = text.split_at(end);
    if kind.len() > TOPIC_LEN_MAX {
        return None;
    }
    let text = ["}", ",", "\"data\"", ":"].into_iter().try_fold(text.strip_prefix('"')?, after)?;
    let data = text.trim_end_matches(BLANKS).strip_suffix('}')?;
    let data = serde_json::from_str::<&RawValue>(data).ok()?.get();
    Some(Envelope { kind: Cow::Borrowed(kind), data: Some(Cow::Borrowed(data)) })
}

/// The events of a request that has each on one line, all of them plain and good. Of any other this says nothing.
fn plain_lines(text: &str, event_max: usize) -> Option<Vec<Envelope<'_>>> {
    let mut events = Vec::new();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let line = line.trim_matches(BLANKS);
        if line.len() > event_max || events.len() == PUBLISH_EVENTS_MAX {
            return None;
        }
        events.push(plain(line)?);
    }
    Some(events)
}

/// What follows `token`, which `text` begins with, perhaps after blanks.
fn after<'a>(text: &'a str, token: &str) -> Option<&'a str> {
    text.strip_prefix(token).or_else(|| text.trim_start_matches(BLANKS).strip_prefix(token))
}

/// The events of one request so far.
struct Batch<'a> {
    events: Vec<Envelope<'a>>,
    event_max: usize,
}

impl<'a> Batch<'a> {
    fn parse(text: &'a str, event_max: usize) -> Result<Vec<Envelope<'a>>, BadEvent> {
        if let Some(events) = plain_lines(text, event_max) {
            return Ok(events);
        }
        let mut batch = Self { events: Vec::new(), event_max };
        if text.trim_ascii_start().starts_with('[') {
            batch.take_array(text)?
        } else {
            batch.take_lines(text)?
        }
        Ok(batch.events)
    }

    fn take_array(&mut self, text: &'a str) -> Result<(), BadEvent> {
        let mut refused = None;
        let mut json = serde_json::Deserializer::from_str(text);
        let parsed = json.deserialize_seq(Elements { batch: self, refused: &mut refused }).and_then(|()| json.end());
        match (refused, parsed) {
            (Some(refused), _) => Err(refused),
            (None, Err(error)) => Err(self.bad(error.to_string())),
            (None, Ok(())) => Ok(()),
        }
    }

    fn take_lines(&mut self, text: &'a str) -> Result<(), BadEvent> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        let mut end = 0;
        while let Some(value) = values.next() {
            let raw = value.map_err(|error| self.bad(error.to_string()))?.get();
            let between = &text[end..values.byte_offset() - raw.len()];
            if !self.events.is_empty() && !between.contains('\n') {
                return Err(self.bad("two events on one line".into()));
            }
            self.push(raw)?;
            end = values.byte_offset();
        }
        if self.events.is_empty() { Err(self.bad("there is no event".into())) } else { Ok(()) }
    }

    fn push(&mut self, raw: &'a str) -> Result<(), BadEvent> {
        if self.events.len() == PUBLISH_EVENTS_MAX {
            return Err(self.too_large(format!("more than {PUBLISH_EVENTS_MAX} events in one request")));
        }
        if raw.len() > self.event_max {
            return Err(self.too_large(format!("the event is larger than {} bytes", self.event_max)));
        }
        let envelope = serde_json::from_str::<Parts>(raw).map_err(Malformed::from).and_then(Parts::envelope);
        self.events.push(envelope.map_err(|malformed| self.bad(malformed.0))?);
        Ok(())
    }

    fn bad(&self, reason: String) -> BadEvent {
        BadEvent { index: self.events.len(), reason, too_large: false }
    }

    fn too_large(&self, reason: String) -> BadEvent {
        BadEvent { too_large: true, ..self.bad(reason) }
    }
}

/// Visits the array of a request. An event that is refused ends the visit.
struct Elements<'b, 'a> {
    batch: &'b mut Batch<'a>,
    refused: &'b mut Option<BadEvent>,
}

impl<'de> Visitor<'de> for Elements<'_, 'de> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(raw) = elements.next_element::<&RawValue>()? {
            if let Err(refused) = self.batch.push(raw.get()) {
                *self.refused = Some(refused);
                return Err(de::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// The JSON texts that make an event.
#[derive(Default)]
struct Parts<'a> {
    /// A JSON string, quotes included; empty when there is none.
    kind: &'a str,
    data: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn envelope(self) -> Result<Envelope<'a>, Malformed> {
        let kind = unquote(self.kind);
        if kind.len() > TOPIC_LEN_MAX {
            return Err(Malformed(format!("the event type is longer than {TOPIC_LEN_MAX} bytes")));
        }
        Ok(Envelope { kind, data: self.data.map(Cow::Borrowed) })
    }
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut parts = Self::default();
        from.deserialize_any(Event(&mut parts))?;
        Ok(parts)
    }
}

/// Visits the event itself.
struct Event<'p, 'a>(&'p mut Parts<'a>);

impl<'de> Visitor<'de> for Event<'_, 'de> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an event object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Keys are read raw: an unknown one may hold half a surrogate pair, which only a reader of its text minds.
        while let Some(key) = map.next_key::<&RawValue>()? {
            if is_key(key, "meta") {
                map.next_value_seed(Meta(self.0))?;
            } else if is_key(key, "data") {
                self.0.data = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Visits `meta`.
struct Meta<'p, 'a>(&'p mut Parts<'a>);

impl<'de> DeserializeSeed<'de> for Meta<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Meta<'_, 'de> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("meta to be an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&RawValue>()? {
            if !is_key(key, "type") {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match map.next_value::<&RawValue>()?.get() {
                "null" => {}
                kind if kind.starts_with('"') => self.0.kind = kind,
                _ => return Err(de::Error::custom("meta.type must be a string")),
            }
        }
        Ok(())
    }
}

fn is_key(key: &RawValue, name: &str) -> bool {
    unquote(key.get()).eq_ignore_ascii_case(name)
}

/// What a valid JSON string says. Half a surrogate pair says U+FFFD, as browsers and the original have it.
fn unquote(raw: &str) -> Cow<'_, str> {
    let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
    let Some(mut at) = memchr::memchr(b'\\', inner.as_bytes()) else { return Cow::Borrowed(inner) };
    let (mut text, mut rest) = (String::with_capacity(inner.len()), inner);
    loop {
        text.push_str(&rest[..at]);
        let (character, used) = escaped(&rest.as_bytes()[at..]);
        text.push(character);
        rest = rest.get(at + used..).unwrap_or_default();
        match memchr::memchr(b'\\', rest.as_bytes()) {
            Some(next) => at = next,
            None => break,
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character that the escape at the start of `bytes` stands for, and the bytes it takes.
fn escaped(bytes: &[u8]) -> (char, usize) {
    match bytes.get(1) {
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'u') => {
            let units = [code_unit(bytes), bytes.get(6..).and_then(code_unit)];
            let [Some(first), second] = units else { return (char::REPLACEMENT_CHARACTER, 6) };
            match (char::decode_utf16([first]).next(), second) {
                (Some(Ok(character)), _) => (character, 6),
                (_, Some(second)) => match char::decode_utf16([first, second]).next() {
                    Some(Ok(character)) => (character, 12),
                    _ => (char::REPLACEMENT_CHARACTER, 6),
                },
                _ => (char::REPLACEMENT_CHARACTER, 6),
            }
        }
        Some(byte) => (char::from(*byte), 2),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

/// The UTF-16 code unit that `\uXXXX` at the start of `bytes` names.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

/// The text in `bytes`, with U+FFFD for each byte that belongs to no character.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 64);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
