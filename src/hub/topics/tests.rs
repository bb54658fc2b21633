use std::collections::BTreeMap;

use super::*;

/// Topics, and the seats that their subscribers keep.
#[derive(Default)]
struct Hall {
    topics: Topics,
    seats: BTreeMap<u32, Seat>,
}

impl Hall {
    fn join(&mut self, subscriber: u32, names: &[&str]) {
        let hashed: Vec<(u64, &[u8])> = names.iter().map(|name| (name.len() as u64, name.as_bytes())).collect();
        let seat = self.topics.join(Subscriber(subscriber), hashed.into_iter());
        assert_eq!(seat.is_single(), names.len() == 1);
        self.seats.insert(subscriber, seat);
        self.check();
    }

    fn leave(&mut self, subscriber: u32) {
        let seat = self.seats.remove(&subscriber).expect("it has joined");
        self.topics.leave(seat, |moved, seat| {
            *self.seats.get_mut(&moved.0).expect("only who is here moves") = seat;
        });
        self.check();
    }

    /// Whoever is in a list is found there by what is kept of the place.
    fn check(&self) {
        let mut count = 0;
        for (key, topic) in &self.topics.topics {
            for (at, &member) in topic.members.iter().enumerate() {
                let Met { subscriber, is_single } = self.topics.met(member);
                let seat = self.seats[&subscriber.0];
                let kept = match seat.held() {
                    Held::One { topic, at } => (topic, at),
                    _ => {
                        let membership = &self.topics.memberships[(member.0 & !MEMBERSHIP) as usize];
                        (membership.topic, membership.at)
                    }
                };
                assert_eq!((kept, is_single), ((key as u32, at as u32), seat.is_single()));
                assert!(self.topics.list(seat).any(|(topic, _)| topic.0 == key as u32));
                count += 1;
            }
        }
        assert_eq!(self.topics.member_count(), count);
    }

    fn members(&self, name: &str) -> Vec<u32> {
        let Some(topic) = self.topics.find(name.len() as u64, name.as_bytes()) else { return Vec::new() };
        let members = &self.topics.topics[topic.0 as usize].members;
        let mut members: Vec<u32> = members.iter().map(|&member| self.topics.met(member).subscriber.0).collect();
        members.sort_unstable();
        members
    }
}

#[test]
fn joining_and_leaving_is_seen_in_every_topic() {
    let mut hall = Hall::default();
    hall.join(1, &["a", "bb", "ccc"]);
    hall.join(2, &["bb"]);
    hall.join(3, &["a", "bb"]);
    assert_eq!((hall.members("a"), hall.members("bb")), (vec![1, 3], vec![1, 2, 3]));
    hall.leave(1);
    assert_eq!((hall.members("a"), hall.members("bb"), hall.members("ccc")), (vec![3], vec![2, 3], vec![]));
    assert_eq!(hall.topics.topic_count(), 2);
    hall.leave(3);
    hall.leave(2);
    assert_eq!((hall.topics.topic_count(), hall.topics.member_count()), (0, 0));
}

#[test]
fn names_that_share_a_hash_are_different_topics() {
    let mut hall = Hall::default();
    hall.join(1, &["x"]);
    hall.join(2, &["y"]);
    assert_eq!((hall.members("x"), hall.members("y")), (vec![1], vec![2]));
}

/// Whoever leaves in the middle of a walk, the others are each visited once. Every other one has a second topic.
#[test]
fn a_walk_visits_each_once_whoever_leaves_meanwhile() {
    for leave_after in 0..6 {
        for leaver in 0..6u32 {
            let mut hall = Hall::default();
            for subscriber in 0..6 {
                let names = ["t", "uu"];
                hall.join(subscriber, &names[..1 + subscriber as usize % 2]);
            }
            let topic = hall.topics.find(1, b"t").expect("it has members");
            hall.topics.begin_walk(topic);
            let mut visited = Vec::new();
            for step in 0.. {
                if step == leave_after {
                    hall.leave(leaver);
                }
                match hall.topics.walk() {
                    Some(met) => {
                        assert_eq!(met.is_single, met.subscriber.0 % 2 == 0);
                        visited.push(met.subscriber.0);
                    }
                    None => break,
                }
            }
            let before = visited.contains(&leaver);
            visited.sort_unstable();
            let want: Vec<u32> = (0..6).filter(|&one| one != leaver || before).collect();
            assert_eq!(visited, want, "{leaver} leaves after {leave_after}");
        }
    }
}

/// However they come and go, what is kept of the places stays right.
#[test]
fn seats_follow_their_members() {
    let names = ["a", "bb", "ccc", "dddd"];
    let mut random = 5u64;
    let mut dice = |sides: u32| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as u32 % sides
    };
    let mut hall = Hall::default();
    for _ in 0..2_000 {
        let subscriber = dice(20);
        if hall.seats.contains_key(&subscriber) {
            hall.leave(subscriber);
        } else {
            let from = dice(4) as usize;
            hall.join(subscriber, &names[from..from + 1 + dice(4 - from as u32) as usize]);
        }
    }
}
