use proptest::prelude::*;

use super::super::settings::tests::plain;
use super::*;
use crate::wire::resp::ProtocolError;

const EVENT_LEN_MAX: usize = 32;
const ACK: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$6\r\nplasma\r\n:1\r\n";
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n";

fn at(millis: u64) -> Instant {
    Instant::from_nanos((1_000_000 + millis) * 1_000_000)
}

fn message(channel: &str, payload: &str) -> Vec<u8> {
    let (name_len, len) = (channel.len(), payload.len());
    format!("*3\r\n$7\r\nmessage\r\n${name_len}\r\n{channel}\r\n${len}\r\n{payload}\r\n").into_bytes()
}

/// A session and the notes of what it told.
struct Watched {
    session: Subscriber,
    told: Vec<String>,
}

fn note(happening: Happening<'_>) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match happening {
        Happening::Subscribed => "subscribed".into(),
        Happening::Message { channel, payload } => format!("{}={}", text(channel), text(payload)),
        Happening::TooLarge { channel, len } => format!("{}>{len}", channel.map_or("?".into(), text)),
        Happening::Failed(failure) => format!("failed: {failure}"),
    }
}

impl Watched {
    fn started(settings: &Settings) -> Self {
        Self { session: Subscriber::started(settings, EVENT_LEN_MAX, at(0)), told: Vec::new() }
    }

    /// Subscribed at 0, its greeting sent.
    fn subscribed(settings: &Settings) -> Self {
        let mut watched = Self::started(settings);
        watched.session.take_output();
        assert_eq!(watched.feed(ACK, 0), ["subscribed"]);
        watched
    }

    fn feed(&mut self, bytes: &[u8], millis: u64) -> Vec<String> {
        self.session.feed(bytes, at(millis), |happening| self.told.push(note(happening)));
        std::mem::take(&mut self.told)
    }

    fn on_time(&mut self, millis: u64) -> Vec<String> {
        self.session.on_time(at(millis), |happening| self.told.push(note(happening)));
        std::mem::take(&mut self.told)
    }
}

#[test]
fn one_subscribe_names_every_channel_and_events_of_all_arrive() {
    let mut watched = Watched::started(&Settings { channels: vec!["p".into(), "q".into()], ..plain() });
    assert_eq!(watched.session.take_output(), b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\np\r\n$1\r\nq\r\n");
    assert!(watched.session.take_output().is_empty());
    assert!(watched.feed(b"*3\r\n$9\r\nsubscribe\r\n$1\r\np\r\n:1\r\n", 1).is_empty());
    assert_eq!(watched.feed(&message("p", "early"), 2), ["p=early"], "the first channel is live already");
    assert!(!watched.session.healthy(at(2)));
    assert_eq!(watched.feed(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nq\r\n:2\r\n", 3), ["subscribed"]);
    assert!(watched.session.healthy(at(3)));
    assert_eq!(
        watched.feed(&[message("p", "1"), message("q", "2"), message("p", "3")].concat(), 4),
        ["p=1", "q=2", "p=3"]
    );
}

#[test]
fn auth_and_select_go_before_subscribe_in_one_write() {
    let settings = Settings { password: "s3cret".into(), db: 2, ..plain() };
    let mut watched = Watched::started(&settings);
    let want = b"*2\r\n$4\r\nAUTH\r\n$6\r\ns3cret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n\
        *2\r\n$9\r\nSUBSCRIBE\r\n$6\r\nplasma\r\n";
    assert_eq!(watched.session.take_output(), want);
    assert!(watched.feed(b"+OK\r\n+OK\r\n", 1).is_empty());
    assert_eq!(watched.feed(ACK, 2), ["subscribed"]);

    let with_user = Settings { username: "plasma".into(), password: "s3cret".into(), db: -1, ..plain() };
    let want = b"*3\r\n$4\r\nAUTH\r\n$6\r\nplasma\r\n$6\r\ns3cret\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$6\r\nplasma\r\n";
    assert_eq!(Watched::started(&with_user).session.take_output(), want);
}

#[test]
fn a_whole_conversation_means_the_same_at_every_cut() {
    let settings = Settings { password: "s3cret".into(), ..plain() };
    let large = message("plasma", &"x".repeat(EVENT_LEN_MAX + 1));
    let edge = message("plasma", &"y".repeat(EVENT_LEN_MAX));
    let input = [b"+OK\r\n", ACK, &message("plasma", "a\r\nb"), &large, PONG, &edge].concat();
    let want = ["subscribed", "plasma=a\r\nb", "plasma>33", &format!("plasma={}", "y".repeat(EVENT_LEN_MAX))];
    for cut in 0..=input.len() {
        let mut watched = Watched::started(&settings);
        let told = [watched.feed(&input[..cut], 1), watched.feed(&input[cut..], 2)].concat();
        assert_eq!(told, want, "cut at {cut}");
    }
}

#[test]
fn the_channel_named_nothing_can_be_subscribed() {
    let mut watched = Watched::started(&Settings { channels: vec![String::new()], ..plain() });
    assert_eq!(watched.session.take_output(), b"*2\r\n$9\r\nSUBSCRIBE\r\n$0\r\n\r\n");
    assert_eq!(watched.feed(b"*3\r\n$9\r\nsubscribe\r\n$0\r\n\r\n:1\r\n", 1), ["subscribed"]);
    assert_eq!(watched.feed(&message("", "x"), 1), ["=x"]);
}

#[test]
fn without_channels_the_link_idles_and_is_still_checked() {
    let mut watched = Watched::started(&Settings { channels: vec![], ..plain() });
    assert_eq!(watched.session.take_output(), PING);
    assert_eq!(watched.feed(b"+PONG\r\n", 5), ["subscribed"]);
    assert!(watched.on_time(1_005).is_empty());
    assert_eq!(watched.session.take_output(), PING);
    assert!(watched.feed(b"+PONG\r\n", 1_010).is_empty());
    assert!(watched.session.healthy(at(1_010)));

    let mut closed_door = Watched::started(&Settings { channels: vec![], ..plain() });
    let told = closed_door.feed(b"-NOAUTH Authentication required.\r\n", 5);
    assert_eq!(told, ["failed: PING refused: NOAUTH Authentication required."]);
}

#[test]
fn a_minute_of_idling_costs_a_ping_a_second_and_never_the_link() {
    let mut watched = Watched::subscribed(&Settings { max_retry: 1, ..plain() });
    let mut pings = 0;
    for millis in (0..60_000).step_by(10) {
        assert!(watched.on_time(millis).is_empty());
        let output = watched.session.take_output();
        if !output.is_empty() {
            assert_eq!(output, PING);
            pings += 1;
            assert!(watched.feed(PONG, millis + 1).is_empty());
        }
        assert!(watched.session.healthy(at(millis)));
    }
    assert!((58..=60).contains(&pings), "{pings} probes");
    assert_eq!(watched.feed(&message("plasma", "x"), 60_000), ["plasma=x"], "never deaf");
}

#[test]
fn messages_are_as_good_as_a_pong() {
    let mut watched = Watched::subscribed(&plain());
    watched.on_time(1_000);
    assert_eq!(watched.session.next_deadline(), Some(at(2_000)));
    assert_eq!(watched.feed(&message("plasma", "x"), 1_500), ["plasma=x"]);
    assert_eq!(watched.session.next_deadline(), Some(at(2_500)));
    assert!(watched.on_time(2_000).is_empty());
    assert!(watched.feed(PONG, 2_100).is_empty(), "the late answer surprises nobody");
}

#[test]
fn a_redis_that_hangs_is_unhealthy_and_dropped_within_three_seconds() {
    let mut watched = Watched::subscribed(&plain());
    assert!(watched.on_time(999).is_empty());
    assert!(watched.session.take_output().is_empty());
    assert!(watched.on_time(1_000).is_empty());
    assert_eq!(watched.session.take_output(), PING);
    assert!(watched.on_time(1_999).is_empty());
    assert!(watched.session.take_output().is_empty(), "one probe at a time");
    assert!(watched.session.healthy(at(2_999)) && !watched.session.healthy(at(3_000)), "even if timers stand still");
    assert_eq!(watched.on_time(2_000), ["failed: Redis did not answer a PING in time"]);
    assert!(!watched.session.healthy(at(2_000)));
    assert_eq!(watched.session.next_deadline(), None);
    assert!(watched.on_time(9_000).is_empty(), "told once");
    assert!(watched.feed(&message("plasma", "x"), 9_000).is_empty(), "over is over");
}

#[test]
fn a_timer_that_fires_late_still_leaves_the_peer_its_time_to_answer() {
    let mut watched = Watched::subscribed(&plain());
    assert!(watched.on_time(50_000).is_empty());
    assert_eq!(watched.session.next_deadline(), Some(at(51_000)));
}

#[test]
fn half_a_message_and_then_silence_ends_the_link() {
    let mut watched = Watched::subscribed(&plain());
    assert!(watched.feed(b"*3\r\n$7\r\nmessage\r\n$6\r\npla", 500).is_empty());
    assert!(watched.on_time(1_500).is_empty());
    assert_eq!(watched.on_time(2_500), ["failed: Redis did not answer a PING in time"]);
}

#[test]
fn half_a_greeting_and_then_silence_ends_the_link() {
    let mut watched = Watched::started(&plain());
    assert!(watched.feed(&ACK[..10], 4_999).is_empty());
    assert_eq!(watched.session.next_deadline(), Some(at(5_000)));
    assert_eq!(watched.on_time(5_000), ["failed: Redis did not answer the greeting in time"]);
}

#[test]
fn a_killed_redis_is_unhealthy_at_once() {
    let mut watched = Watched::subscribed(&plain());
    assert!(watched.session.healthy(at(0)));
    watched.session.closed("connection reset by peer", |happening| watched.told.push(note(happening)));
    assert_eq!(watched.told, ["failed: connection closed: connection reset by peer"]);
    assert!(!watched.session.healthy(at(0)));
}

#[test]
fn refusals_end_the_link_and_say_why() {
    let locked = Settings { password: "s3cret".into(), db: 99, ..plain() };
    let wrongpass = "WRONGPASS invalid username-password pair or user is disabled.";
    let cases: [(&Settings, String, String); 6] = [
        (
            &locked,
            format!("-{wrongpass}\r\n-NOAUTH Authentication required.\r\n"),
            format!("AUTH refused: {wrongpass}"),
        ),
        (
            &locked,
            "+OK\r\n-ERR DB index is out of range\r\n".into(),
            "SELECT refused: ERR DB index is out of range".into(),
        ),
        (
            &plain(),
            "-NOAUTH Authentication required.\r\n".into(),
            "SUBSCRIBE refused: NOAUTH Authentication required.".into(),
        ),
        (
            &plain(),
            "-NOPERM this user has no permissions to access one of the channels used as arguments\r\n".into(),
            "SUBSCRIBE refused: NOPERM this user has no permissions to access one of the channels used as arguments"
                .into(),
        ),
        (
            &plain(),
            "HTTP/1.1 400 Bad Request\r\n".into(),
            "not the Redis protocol: no Redis reply starts with 'H'".into(),
        ),
        (&locked, "+PONG\r\n".into(), "Redis sent a reply that answers nothing".into()),
    ];
    for (settings, input, want) in cases {
        let mut watched = Watched::started(settings);
        assert_eq!(watched.feed(input.as_bytes(), 1), [format!("failed: {want}")], "{input:?}");
    }
    let mut watched = Watched::subscribed(&plain());
    let told = watched.feed(b"*3\r\n$11\r\nunsubscribe\r\n$6\r\nplasma\r\n:0\r\n", 1);
    assert_eq!(told, ["failed: Redis sent a reply that answers nothing"]);
}

#[test]
fn the_password_is_not_in_any_refusal() {
    let locked = |password: &str| Settings { password: password.into(), ..plain() };
    let told = |password: &str, error: &str| Watched::started(&locked(password)).feed(error.as_bytes(), 1);
    let quoted = "-ERR unknown command 'AUTH', with args beginning with: 's3cret' \r\n";
    assert_eq!(told("s3cret", quoted), ["failed: AUTH refused: ERR unknown command 'AUTH'"]);
    assert_eq!(told("s3cret", "-ERR wrong: s3cret\r\n"), ["failed: AUTH refused: ERR"]);
    assert_eq!(told("s3cret", "-s3cret\r\n"), ["failed: AUTH refused: an error whose text contains the password"]);
    assert_eq!(told("pass", "-WRONGPASS invalid username-password pair\r\n"), ["failed: AUTH refused: WRONGPASS"]);
}

#[test]
fn a_ping_that_is_declined_is_answered_all_the_same() {
    let declined = [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-BUSY Redis is busy running a script.\r\n",
        "-NOPERM this user has no permissions to run the 'ping' command\r\n",
    ];
    let mut watched = Watched::subscribed(&plain());
    for (error, second) in declined.iter().zip(1..) {
        assert!(watched.on_time(second * 1_000).is_empty());
        assert_eq!(watched.session.take_output(), PING);
        assert!(watched.feed(error.as_bytes(), second * 1_000).is_empty());
    }
    assert!(watched.session.healthy(at(3_000)));
    let mut idle = Watched::started(&Settings { channels: vec![], ..plain() });
    assert_eq!(idle.feed(declined[2].as_bytes(), 1), ["subscribed"]);
}

#[test]
fn a_channel_name_that_is_too_long_is_not_known() {
    let mut watched = Watched::subscribed(&plain());
    let name = "n".repeat(EVENT_LEN_MAX + 1);
    assert_eq!(watched.feed(&message(&name, "x"), 1), ["?>33"]);
    assert_eq!(watched.feed(&message("plasma", "x"), 1), ["plasma=x"], "the link goes on");
}

#[test]
fn garbage_after_the_greeting_is_a_protocol_failure() {
    let mut session = Subscriber::started(&plain(), EVENT_LEN_MAX, at(0));
    let mut last = None;
    session.feed(&[ACK, b"garbage"].concat(), at(1), |happening| {
        if let Happening::Failed(failure) = happening {
            last = Some(failure);
        }
    });
    assert_eq!(last, Some(Failure::Protocol(ProtocolError::Kind(b'g'))));
    assert!(session.take_output().is_empty());
}

proptest! {
    #[test]
    fn no_bytes_and_no_times_cause_a_panic_or_pile_up_output(
        script in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..40), 0u64..3_000, 0usize..8), 0..30),
    ) {
        let mut session = Subscriber::started(&plain(), EVENT_LEN_MAX, at(0));
        session.take_output();
        let (mut millis, mut failed) = (0, 0);
        let mut count = |happening: Happening<'_>| failed += usize::from(matches!(happening, Happening::Failed(_)));
        for (bytes, pause, kind) in script {
            millis += pause;
            let message = message("plasma", "payload");
            match kind {
                0 => session.feed(&bytes, at(millis), &mut count),
                1 => session.feed(PONG, at(millis), &mut count),
                2 => session.feed(&message[..bytes.len()], at(millis), &mut count),
                3 | 4 => session.feed(&message, at(millis), &mut count),
                5 => session.feed(ACK, at(millis), &mut count),
                _ => session.on_time(at(millis), &mut count),
            }
        }
        prop_assert!(failed <= 1);
        prop_assert_eq!(session.next_deadline().is_none(), failed == 1);
        prop_assert!(session.take_output().len() <= PING.len() * 30);
    }
}
