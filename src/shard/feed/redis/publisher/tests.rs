use proptest::prelude::*;

use super::super::settings::tests::plain;
use super::*;
use crate::wire::resp::ProtocolError;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

fn at(millis: u64) -> Instant {
    Instant::from_nanos((1_000_000 + millis) * 1_000_000)
}

/// A session and what it told.
struct Watched {
    session: Publisher,
    told: Vec<Happening>,
}

impl Watched {
    fn started(settings: &Settings) -> Self {
        Self { session: Publisher::started(settings, at(0)), told: Vec::new() }
    }

    /// Ready at 0.
    fn ready() -> Self {
        let mut watched = Self::started(&plain());
        assert_eq!(watched.session.take_output(), PING);
        assert_eq!(watched.feed(b"+PONG\r\n", 0), [Happening::Ready]);
        watched
    }

    fn publish(&mut self, ticket: u64, millis: u64) {
        assert_eq!(self.session.publish(ticket, b"c", b"{}", at(millis)), Ok(()));
    }

    fn feed(&mut self, bytes: &[u8], millis: u64) -> Vec<Happening> {
        self.session.feed(bytes, at(millis), |happening| self.told.push(happening));
        std::mem::take(&mut self.told)
    }

    fn on_time(&mut self, millis: u64) -> Vec<Happening> {
        self.session.on_time(at(millis), |happening| self.told.push(happening));
        std::mem::take(&mut self.told)
    }

    fn closed(&mut self) -> Vec<Happening> {
        self.session.closed("reset", |happening| self.told.push(happening));
        std::mem::take(&mut self.told)
    }
}

fn closed() -> Happening {
    Happening::Failed(Failure::Closed("reset".into()))
}

#[test]
fn publishes_are_pipelined_and_answered_in_order() {
    let mut watched = Watched::ready();
    for ticket in [7, 3, 9] {
        watched.publish(ticket, 1);
    }
    assert_eq!(watched.session.take_output(), b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$2\r\n{}\r\n".repeat(3));
    assert_eq!(watched.session.awaited_count(), 3);
    let text = "OOM command not allowed when used memory > 'maxmemory'.";
    let input = format!(":0\r\n-{text}\r\n:12\r\n").into_bytes();
    let want = [
        Happening::Published { ticket: 7 },
        Happening::Refused { ticket: 3, text: text.into() },
        Happening::Published { ticket: 9 },
    ];
    assert_eq!(watched.feed(&input, 2), want);
    assert!(watched.session.is_ready() && watched.session.awaited_count() == 0);
}

#[test]
fn answers_mean_the_same_at_every_cut() {
    let input = b"+OK\r\n+OK\r\n+PONG\r\n";
    let answers = b":1\r\n-NOPERM no\r\n:0\r\n";
    for cut in 0..=input.len() {
        let mut watched = Watched::started(&Settings { password: "p".into(), db: 1, ..plain() });
        watched.session.take_output();
        assert_eq!([watched.feed(&input[..cut], 1), watched.feed(&input[cut..], 1)].concat(), [Happening::Ready]);
        (0..3).for_each(|ticket| watched.publish(ticket, 1));
        watched.session.take_output();
        let cut = cut.min(answers.len());
        let told = [watched.feed(&answers[..cut], 2), watched.feed(&answers[cut..], 2)].concat();
        assert_eq!(told.len(), 3);
        assert_eq!(told[1], Happening::Refused { ticket: 1, text: "NOPERM no".into() });
    }
}

#[test]
fn events_are_kept_back_until_the_greeting_is_accepted() {
    let mut watched = Watched::started(&Settings { password: "s3cret".into(), ..plain() });
    watched.publish(1, 0);
    assert_eq!(watched.session.take_output(), [b"*2\r\n$4\r\nAUTH\r\n$6\r\ns3cret\r\n", PING].concat());
    assert!(watched.session.take_output().is_empty());
    assert!(watched.feed(b"+OK\r\n", 1).is_empty());
    assert!(watched.session.take_output().is_empty());
    assert_eq!(watched.feed(b"+PONG\r\n", 1), [Happening::Ready]);
    assert_eq!(watched.session.take_output(), b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$2\r\n{}\r\n");
}

#[test]
fn a_refused_greeting_gives_all_tickets_back_unsent() {
    let mut watched = Watched::started(&Settings { password: "s3cret".into(), ..plain() });
    watched.publish(1, 0);
    watched.publish(2, 0);
    let told = watched.feed(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n+PONG\r\n", 1);
    let text = "WRONGPASS invalid username-password pair or user is disabled.".into();
    let failed = Happening::Failed(Failure::Refused { command: "AUTH", text });
    assert_eq!(told, [Happening::Unsent { ticket: 1 }, Happening::Unsent { ticket: 2 }, failed]);
    assert_eq!(watched.session.publish(3, b"c", b"{}", at(2)), Err(Declined::Over));
}

#[test]
fn a_redis_that_wants_a_password_is_found_out_before_an_event_is_sent() {
    let mut watched = Watched::started(&plain());
    watched.publish(1, 0);
    let told = watched.feed(b"-NOAUTH Authentication required.\r\n", 1);
    assert_eq!(told[0], Happening::Unsent { ticket: 1 });
    assert_eq!(told.len(), 2);
}

#[test]
fn a_lost_link_tells_the_unanswered_from_the_unsent() {
    let mut watched = Watched::ready();
    (1..=3).for_each(|ticket| watched.publish(ticket, 1));
    watched.session.take_output();
    assert_eq!(watched.feed(b":1\r\n", 2), [Happening::Published { ticket: 1 }]);
    watched.publish(4, 2);
    let want =
        [Happening::Unknown { ticket: 2 }, Happening::Unknown { ticket: 3 }, Happening::Unsent { ticket: 4 }, closed()];
    assert_eq!(watched.closed(), want);
    assert!(watched.closed().is_empty(), "told once");
    assert!(watched.session.take_output().is_empty());
    assert_eq!(watched.session.next_deadline(), None);
}

#[test]
fn the_pipeline_is_full_at_its_limit_and_drains() {
    let mut watched = Watched::ready();
    (0..REDIS_PIPELINE_MAX as u64).for_each(|ticket| watched.publish(ticket, 1));
    assert_eq!(watched.session.publish(0, b"c", b"{}", at(1)), Err(Declined::Full));
    watched.session.take_output();
    assert_eq!(watched.session.publish(0, b"c", b"{}", at(1)), Err(Declined::Full), "sent is not answered");
    assert_eq!(watched.feed(b":1\r\n", 2).len(), 1);
    watched.publish(0, 2);
}

#[test]
fn unsent_bytes_are_bounded_but_one_event_of_any_size_passes() {
    let mut watched = Watched::ready();
    let large = vec![b'x'; REDIS_UNSENT_LEN_MAX + 1];
    assert_eq!(watched.session.publish(1, b"c", &large, at(1)), Ok(()));
    assert_eq!(watched.session.publish(2, b"c", b"", at(1)), Err(Declined::Full));
    assert!(watched.session.take_output().len() > large.len());
    watched.publish(2, 1);
    let waiting = watched.session.link.output.len();
    let fits = &large[..REDIS_UNSENT_LEN_MAX - waiting - 1];
    assert_eq!(watched.session.publish(3, b"c", &large[..fits.len() + 1], at(1)), Err(Declined::Full));
    assert_eq!(watched.session.publish(3, b"c", fits, at(1)), Ok(()));
}

#[test]
fn an_answer_that_is_late_ends_the_link_with_outcome_unknown() {
    let mut watched = Watched::ready();
    watched.publish(1, 100);
    watched.session.take_output();
    watched.publish(2, 200);
    assert_eq!(watched.session.next_deadline(), Some(at(5_100)));
    assert!(watched.on_time(5_099).is_empty());
    let want = [Happening::Unknown { ticket: 1 }, Happening::Unsent { ticket: 2 }, Happening::Failed(Failure::Overdue)];
    assert_eq!(watched.on_time(5_100), want);
}

#[test]
fn an_idle_link_is_probed_and_a_silent_one_ends() {
    let mut watched = Watched::ready();
    assert!(watched.on_time(999).is_empty() && watched.session.take_output().is_empty());
    assert!(watched.on_time(1_000).is_empty());
    assert_eq!(watched.session.take_output(), PING);
    assert!(watched.feed(b"+PONG\r\n", 1_001).is_empty());
    assert!(watched.on_time(2_001).is_empty());
    assert_eq!(watched.session.take_output(), PING);
    watched.publish(1, 2_002);
    let want = [Happening::Unsent { ticket: 1 }, Happening::Failed(Failure::Silent)];
    assert_eq!(watched.on_time(7_001), want);
}

#[test]
fn a_user_who_may_only_publish_needs_no_ping() {
    const NOPERM: &[u8] = b"-NOPERM this user has no permissions to run the 'ping' command\r\n";
    let mut watched = Watched::started(&plain());
    watched.session.take_output();
    assert_eq!(watched.feed(NOPERM, 0), [Happening::Ready]);
    watched.on_time(1_000);
    assert_eq!(watched.session.take_output(), PING);
    assert!(watched.feed(NOPERM, 1_001).is_empty());
    assert!(watched.session.is_ready());
}

#[test]
fn events_behind_a_probe_are_answered_behind_it() {
    let mut watched = Watched::ready();
    watched.on_time(1_000);
    watched.publish(1, 1_000);
    watched.session.take_output();
    assert_eq!(watched.feed(b"+PONG\r\n:1\r\n", 1_001), [Happening::Published { ticket: 1 }]);
}

#[test]
fn an_unanswered_greeting_ends_the_link() {
    let mut watched = Watched::started(&plain());
    assert_eq!(watched.session.next_deadline(), Some(at(5_000)));
    assert!(watched.feed(b"+PO", 4_000).is_empty());
    assert_eq!(watched.on_time(5_000), [Happening::Failed(Failure::Slow)]);
}

#[test]
fn replies_nobody_asked_for_end_the_link() {
    let unexpected = || Happening::Failed(Failure::Unexpected);
    assert_eq!(Watched::ready().feed(b":1\r\n", 1), [unexpected()]);

    let mut unsent = Watched::ready();
    unsent.publish(1, 1);
    assert_eq!(unsent.feed(b":1\r\n", 1), [Happening::Unsent { ticket: 1 }, unexpected()]);

    for odd in [&b"+OK\r\n"[..], b"$1\r\nx\r\n", b"*0\r\n", b"$2000\r\n"] {
        let mut watched = Watched::ready();
        watched.publish(1, 1);
        watched.session.take_output();
        let body = if odd.starts_with(b"$2") { [&[b'x'; 2000][..], b"\r\n"].concat() } else { vec![] };
        let told = watched.feed(&[odd, &body].concat(), 1);
        assert_eq!(told, [Happening::Unknown { ticket: 1 }, unexpected()], "{odd:?}");
    }

    let garbage = Happening::Failed(Failure::Protocol(ProtocolError::Kind(b'H')));
    assert_eq!(Watched::ready().feed(b"HTTP/1.1 400 Bad Request\r\n", 1), [garbage]);
}

proptest! {
    /// Whatever comes back, and whenever: each ticket returns exactly once.
    #[test]
    fn every_ticket_comes_back_exactly_once(
        script in proptest::collection::vec((0u8..8, 0u64..1_500, proptest::collection::vec(any::<u8>(), 0..8)), 0..60),
    ) {
        let mut watched = Watched::ready();
        let (mut taken, mut told, mut millis) = (0, Vec::new(), 0);
        for (kind, pause, bytes) in script {
            millis += pause;
            match kind {
                0..=2 => taken += u64::from(watched.session.publish(taken, b"c", b"{}", at(millis)).is_ok()),
                3 => drop(watched.session.take_output()),
                4 => told.extend(watched.feed(b":1\r\n", millis)),
                5 => told.extend(watched.feed(b"-ERR no\r\n+PONG\r\n", millis)),
                6 => told.extend(watched.on_time(millis)),
                _ => told.extend(if bytes.len() > 6 { watched.feed(&bytes, millis) } else { vec![] }),
            }
        }
        told.extend(watched.closed());
        let tickets: Vec<u64> = told.iter().filter_map(|happening| match happening {
            Happening::Published { ticket } | Happening::Refused { ticket, .. } => Some(*ticket),
            Happening::Unsent { ticket } | Happening::Unknown { ticket } => Some(*ticket),
            Happening::Ready | Happening::Failed(_) => None,
        }).collect();
        prop_assert_eq!(tickets, (0..taken).collect::<Vec<u64>>());
        prop_assert_eq!(told.iter().filter(|happening| matches!(happening, Happening::Failed(_))).count(), 1);
    }
}
