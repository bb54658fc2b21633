//! How a call ends: a code and a sentence, in the trailers.

use std::borrow::Cow;
use std::fmt;

/// The code of a status, as the trailer `grpc-status` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// All went well.
    Ok = 0,
    /// The caller does not want it any more.
    Canceled = 1,
    /// None of the others says it.
    Unknown = 2,
    /// The request is wrong, whatever the state of the server.
    InvalidArgument = 3,
    /// It took longer than the caller allowed.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// What should be made is there already.
    AlreadyExists = 6,
    /// The caller is known and may not do this.
    PermissionDenied = 7,
    /// A limit is reached.
    ResourceExhausted = 8,
    /// The server's state has to change first.
    FailedPrecondition = 9,
    /// Somebody else was faster.
    Aborted = 10,
    /// Beyond what there is.
    OutOfRange = 11,
    /// No such service or method.
    Unimplemented = 12,
    /// Something is broken: the protocol, for one.
    Internal = 13,
    /// Not now; try again.
    Unavailable = 14,
    /// Data is lost for good.
    DataLoss = 15,
    /// The caller did not say who it is.
    Unauthenticated = 16,
}

impl Code {
    /// Every code, each at its number.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Canceled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// Its number, as it stands in `grpc-status`.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Its name as Go prints it, for the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Canceled => "Canceled",
            Self::Unknown => "Unknown",
            Self::InvalidArgument => "InvalidArgument",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::PermissionDenied => "PermissionDenied",
            Self::ResourceExhausted => "ResourceExhausted",
            Self::FailedPrecondition => "FailedPrecondition",
            Self::Aborted => "Aborted",
            Self::OutOfRange => "OutOfRange",
            Self::Unimplemented => "Unimplemented",
            Self::Internal => "Internal",
            Self::Unavailable => "Unavailable",
            Self::DataLoss => "DataLoss",
            Self::Unauthenticated => "Unauthenticated",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.as_str())
    }
}

/// How a call ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What kind of end.
    pub code: Code,
    /// For the person at the other end. May be empty.
    pub message: Cow<'static, str>,
}

impl Status {
    /// The end of a call that went well.
    pub const OK: Self = Self { code: Code::Ok, message: Cow::Borrowed("") };

    /// A status with a message.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The status for bytes that are not the message that was expected.
    pub fn malformed(error: &prost::DecodeError) -> Self {
        Self::new(Code::Internal, format!("grpc: failed to unmarshal the received message: {error}"))
    }

    /// Appends the message as it stands in `grpc-message`: every byte of its UTF-8 that is not visible ASCII or a blank
    /// as `%` and two digits, and `%` itself too.
    pub fn write_message(&self, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        out.reserve(self.message.len());
        for byte in self.message.bytes() {
            match byte {
                b' '..=b'~' if byte != b'%' => out.push(byte),
                _ => out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
            }
        }
    }
}

/// As Go prints it.
impl fmt::Display for Status {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "rpc error: code = {} desc = {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(message: &str) -> String {
        let mut out = Vec::new();
        Status::new(Code::Unknown, message.to_owned()).write_message(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn codes_stand_at_their_numbers() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.number()), number);
            // But for the shouting of OK, the names are those of the variants.
            assert!(code.as_str().eq_ignore_ascii_case(&format!("{code:?}")));
        }
        assert_eq!((Code::Unavailable.number(), Code::Ok.as_str()), (14, "OK"));
    }

    #[test]
    fn a_status_reads_as_in_go() {
        let status = Status::new(Code::Unimplemented, "unknown method Nope");
        assert_eq!(status.to_string(), "rpc error: code = Unimplemented desc = unknown method Nope");
    }

    #[test]
    fn messages_are_escaped_where_a_header_cannot_hold_them() {
        assert_eq!(encoded("my favorite character is \u{0}"), "my favorite character is %00");
        assert_eq!(encoded("100 % ~\u{7f}\r\n\t"), "100 %25 ~%7F%0D%0A%09");
        assert_eq!(encoded("\u{fc} \u{1f600}"), "%C3%BC %F0%9F%98%80");
        assert_eq!(encoded(""), "");
    }

    proptest! {
        #[test]
        fn messages_are_read_back(text in "(\\PC|[\\x00-\\x7f%]){0,40}") {
            let encoded = encoded(&text);
            let is_printable = encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            prop_assert!(is_printable);
            let (mut bytes, mut rest) = (Vec::new(), encoded.as_bytes());
            while let [first, after @ ..] = rest {
                if *first == b'%' {
                    bytes.push(u8::from_str_radix(str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
                    rest = &after[2..];
                } else {
                    bytes.push(*first);
                    rest = after;
                }
            }
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
    }
}
