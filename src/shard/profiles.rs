//! What the access log will tell of a stream when it ends, kept once for all clients that have it in common.
//!
//! Ten thousand visitors of one page send the same handful of user agents: a stream holds 4 bytes, not their text.

use hashbrown::HashTable;
use slab::Slab;

use crate::base::log::access;
use crate::wire::http1::Head;

/// Longest text kept of one header field in bytes: user agents rarely pass 200.
const TEXT_LEN_MAX: usize = 256;

/// A kept profile. 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProfileId(u32);

impl ProfileId {
    /// Of a client that has not asked for a stream.
    pub const NONE: Self = Self(u32::MAX);
}

/// The fields in their order: user agent, referer, host, method, path, forwarded for.
const PARTS: usize = 6;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Texts {
    ends: [u16; PARTS],
    text: Box<[u8]>,
}

struct Entry {
    texts: Texts,
    hash: u64,
    holders: u32,
}

/// The texts of one profile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile<'a> {
    pub user_agent: &'a [u8],
    pub referer: &'a [u8],
    pub host: &'a [u8],
    pub method: &'a [u8],
    pub path: &'a [u8],
    /// The first `X-Forwarded-For` header as it came; empty without one.
    pub forwarded: &'a [u8],
}

impl<'a> Profile<'a> {
    /// What `head` says of itself.
    pub fn of(head: &'a Head<'_>) -> Self {
        let field = |name| head.field(name).unwrap_or_default();
        Self {
            user_agent: field("user-agent"),
            referer: field("referer"),
            host: head.host().unwrap_or_default(),
            method: head.method_text().as_bytes(),
            path: head.path().as_bytes(),
            forwarded: field("x-forwarded-for"),
        }
    }
}

impl<'a> Profile<'a> {
    /// The line that the access log gets of such a request, but for what was sent on it and for how long.
    pub fn line(&self, remote_addr: &'a str, status: u16, reason: &'a str) -> access::Request<'a> {
        access::Request {
            user_agent: self.user_agent,
            referer: self.referer,
            host: self.host,
            method: self.method,
            path: self.path,
            remote_addr,
            status,
            reason,
            ..access::Request::default()
        }
    }
}

/// All profiles of a shard.
#[derive(Default)]
pub(super) struct Profiles {
    table: HashTable<u32>,
    entries: Slab<Entry>,
    hasher: foldhash::quality::RandomState,
}

impl Profiles {
    /// Keeps what `profile` says for one holder more.
    pub fn hold(&mut self, profile: &Profile<'_>) -> ProfileId {
        use std::hash::BuildHasher;
        let texts = Texts::of(profile);
        let hash = self.hasher.hash_one(&texts.text);
        let entries = &mut self.entries;
        if let Some(&key) = self.table.find(hash, |&key| entries[key as usize].texts == texts) {
            entries[key as usize].holders += 1;
            return ProfileId(key);
        }
        let key = entries.insert(Entry { texts, hash, holders: 1 }) as u32;
        self.table.insert_unique(hash, key, |&other| entries[other as usize].hash);
        ProfileId(key)
    }

    /// One holder less.
    pub fn release(&mut self, id: ProfileId) {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else { return };
        entry.holders -= 1;
        if entry.holders == 0 {
            let gone = self.entries.remove(id.0 as usize);
            if let Ok(place) = self.table.find_entry(gone.hash, |&key| key == id.0) {
                place.remove();
            }
        }
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The texts of a profile that is held.
    pub fn profile(&self, id: ProfileId) -> Option<Profile<'_>> {
        let texts = &self.entries.get(id.0 as usize)?.texts;
        Some(Profile {
            user_agent: texts.part(0),
            referer: texts.part(1),
            host: texts.part(2),
            method: texts.part(3),
            path: texts.part(4),
            forwarded: texts.part(5),
        })
    }
}

impl Texts {
    fn of(profile: &Profile<'_>) -> Self {
        let Profile { user_agent, referer, host, method, path, forwarded } = *profile;
        let mut text = Vec::new();
        let ends = [user_agent, referer, host, method, path, forwarded].map(|part| {
            text.extend_from_slice(&part[..part.len().min(TEXT_LEN_MAX)]);
            text.len() as u16
        });
        Self { ends, text: text.into() }
    }

    fn part(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[usize::from(start)..usize::from(self.ends[index])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(user_agent: &str) -> Profile<'_> {
        let rest = b"".as_slice();
        Profile {
            user_agent: user_agent.as_bytes(),
            referer: rest,
            host: b"h",
            method: b"GET",
            path: b"/",
            forwarded: rest,
        }
    }

    #[test]
    fn a_profile_is_kept_once_and_goes_with_its_last_holder() {
        let mut profiles = Profiles::default();
        let one = profiles.hold(&profile("curl"));
        let two = profiles.hold(&profile("curl"));
        let other = profiles.hold(&profile("chrome"));
        assert_eq!(one, two);
        assert_ne!(one, other);
        profiles.release(one);
        assert_eq!(profiles.profile(two).map(|kept| kept.user_agent), Some(&b"curl"[..]));
        profiles.release(two);
        assert!(profiles.profile(two).is_none());
        assert_eq!(profiles.profile(other).map(|kept| (kept.user_agent, kept.host)), Some((&b"chrome"[..], &b"h"[..])));
    }

    #[test]
    fn long_texts_are_cut() {
        let mut profiles = Profiles::default();
        let id = profiles.hold(&profile(&"x".repeat(10_000)));
        assert_eq!(profiles.profile(id).map(|kept| kept.user_agent.len()), Some(TEXT_LEN_MAX));
    }
}
