//! From a field list to a request head, by the rules of HTTP/2 (RFC 9113 §8.2, §8.3).

use super::hpack::Fields;
use crate::wire::http1::Head;

/// The request breaks a rule: its stream is reset (RFC 9113 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// The four pseudo-fields of a request.
#[derive(Default)]
struct Pseudo<'b> {
    method: Option<&'b str>,
    scheme: Option<&'b str>,
    path: Option<&'b str>,
    authority: Option<&'b str>,
}

/// The head that `fields` say, with the length of its body where one was announced.
pub fn head(fields: &Fields) -> Result<(Head<'_>, Option<u64>), Malformed> {
    let mut pseudo = Pseudo::default();
    let mut content_length = None;
    let mut regular = false;
    for (name, value) in fields.iter() {
        check_value(value)?;
        if name.first() == Some(&b':') {
            if regular {
                return Err(Malformed("a pseudo-field after a regular one"));
            }
            pseudo.take(name, value)?;
            continue;
        }
        regular = true;
        check_name(name)?;
        check_connection(name, value)?;
        if name == b"content-length" {
            let len = length(value)?;
            if content_length.replace(len).is_some_and(|before| before != len) {
                return Err(Malformed("content-length fields differ"));
            }
        }
    }
    let (method, target) = pseudo.finish()?;
    let regular = fields.iter().filter(|(name, _)| name.first() != Some(&b':'));
    let named = regular.filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, value)));
    let head = Head::assembled(method, target, pseudo.authority, named).map_err(Malformed)?;
    Ok((head, content_length))
}

/// Whether `fields` may follow a body: no pseudo-fields, and the rules of every field (RFC 9113 §8.1).
pub(super) fn check_trailers(fields: &Fields) -> Result<(), Malformed> {
    fields.iter().try_for_each(|(name, value)| {
        check_name(name)?;
        check_value(value)?;
        check_connection(name, value)
    })
}

impl<'b> Pseudo<'b> {
    fn take(&mut self, name: &[u8], value: &'b [u8]) -> Result<(), Malformed> {
        let Ok(value) = str::from_utf8(value) else { return Err(Malformed("a pseudo-field that is no text")) };
        let place = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":path" => &mut self.path,
            b":authority" => &mut self.authority,
            _ => return Err(Malformed("an unknown pseudo-field")),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(Malformed("a pseudo-field twice")),
        }
    }

    /// Method and target (RFC 9113 §8.3.1, §8.5).
    fn finish(&self) -> Result<(&'b str, &'b str), Malformed> {
        let method = self.method.ok_or(Malformed("no :method"))?;
        if method == "CONNECT" {
            let well_formed = self.scheme.is_none() && self.path.is_none() && self.authority.is_some();
            // A target that no route knows: nothing is connected here.
            return if well_formed { Ok((method, "/")) } else { Err(Malformed("malformed CONNECT")) };
        }
        if self.scheme.is_none_or(str::is_empty) {
            return Err(Malformed("no :scheme"));
        }
        let path = self.path.ok_or(Malformed("no :path"))?;
        if path.starts_with('/') || path == "*" && method == "OPTIONS" {
            Ok((method, path))
        } else {
            Err(Malformed("malformed :path"))
        }
    }
}

/// RFC 9113 §8.2.1.
fn check_name(name: &[u8]) -> Result<(), Malformed> {
    let is_good = |byte: &u8| matches!(byte, 0x21..=0x39 | 0x3b..=0x40 | 0x5b..=0x7e);
    if name.is_empty() || !name.iter().all(is_good) {
        return Err(Malformed("a field name of forbidden characters"));
    }
    Ok(())
}

/// RFC 9113 §8.2.1.
fn check_value(value: &[u8]) -> Result<(), Malformed> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) || blank(value.first()) || blank(value.last()) {
        return Err(Malformed("a field value of forbidden characters"));
    }
    Ok(())
}

/// RFC 9113 §8.2.2: what a connection is about has no place in a stream.
fn check_connection(name: &[u8], value: &[u8]) -> Result<(), Malformed> {
    match name {
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
            Err(Malformed("a field of the connection"))
        }
        b"te" if !value.eq_ignore_ascii_case(b"trailers") => Err(Malformed("te may only say trailers")),
        _ => Ok(()),
    }
}

fn length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(Malformed("malformed content-length"))
}
