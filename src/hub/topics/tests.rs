use super::*;

fn join(topics: &mut Topics, subscriber: u32, names: &[&str]) -> Memberships {
    let hashed: Vec<(u64, &[u8])> = names.iter().map(|name| (name.len() as u64, name.as_bytes())).collect();
    topics.join(Subscriber(subscriber), hashed.into_iter())
}

fn members(topics: &Topics, name: &str) -> Vec<u32> {
    let Some(topic) = topics.find(name.len() as u64, name.as_bytes()) else { return Vec::new() };
    let mut members: Vec<u32> = topics.members(topic).iter().map(|member| member.subscriber.0).collect();
    members.sort_unstable();
    members
}

#[test]
fn joining_and_leaving_is_seen_in_every_topic() {
    let mut topics = Topics::default();
    let one = join(&mut topics, 1, &["a", "bb", "ccc"]);
    let two = join(&mut topics, 2, &["bb"]);
    let three = join(&mut topics, 3, &["a", "bb"]);
    assert_eq!((members(&topics, "a"), members(&topics, "bb")), (vec![1, 3], vec![1, 2, 3]));
    assert!(topics.is_single(two) && !topics.is_single(one));
    topics.leave(one);
    assert_eq!((members(&topics, "a"), members(&topics, "bb"), members(&topics, "ccc")), (vec![3], vec![2, 3], vec![]));
    assert_eq!(topics.topic_count(), 2);
    topics.leave(three);
    topics.leave(two);
    assert_eq!((topics.topic_count(), topics.membership_count()), (0, 0));
}

#[test]
fn names_that_share_a_hash_are_different_topics() {
    let mut topics = Topics::default();
    join(&mut topics, 1, &["x"]);
    join(&mut topics, 2, &["y"]);
    assert_eq!((members(&topics, "x"), members(&topics, "y")), (vec![1], vec![2]));
}

/// Whoever leaves in the middle of a walk, the others are each visited once.
#[test]
fn a_walk_visits_each_once_whoever_leaves_meanwhile() {
    for leave_after in 0..6 {
        for leaver in 0..6u32 {
            let mut topics = Topics::default();
            let all: Vec<Memberships> = (0..6).map(|subscriber| join(&mut topics, subscriber, &["t"])).collect();
            let topic = topics.find(1, b"t").expect("it has members");
            topics.begin_walk(topic);
            let mut visited = Vec::new();
            for step in 0.. {
                if step == leave_after {
                    topics.leave(all[leaver as usize]);
                }
                match topics.walk() {
                    Some(subscriber) => visited.push(subscriber.0),
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
