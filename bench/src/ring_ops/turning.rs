//! Turns in which nothing or hardly anything happens: an empty one, and one that a bell from another ring has begun.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use plasma::ring::uring::{self, Bells, Uring};
use plasma::ring::{OUTGOING, Ring};
use rustix::event::{EventfdFlags, eventfd};

use super::Pair;
use crate::Failure;
use crate::turns::{Round, Subject, on_clock};

/// Operations per round: reading the clock does not matter then.
const COUNT: u64 = 256;

/// What is measured here.
pub fn pairs() -> Result<Vec<Pair>, Failure> {
    let bells = Arc::new(Bells::new(2)?);
    let (mut ringer, mut hearer) = (ring(0, &bells)?, ring(1, &bells)?);
    let mut idle = ring(0, &Arc::new(Bells::new(1)?))?;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    Ok(vec![
        Pair {
            reference: ("eventfd", rounds(move || write_and_read(&event))),
            subject: ("bell", rounds(move || ring_and_hear(&mut ringer, &mut hearer))),
        },
        Pair { reference: ("getppid", rounds(enter_the_kernel)), subject: ("turn", rounds(move || turn(&mut idle))) },
    ])
}

fn ring(shard: usize, bells: &Arc<Bells>) -> Result<Uring, Failure> {
    let (listeners, regions) = (Vec::new(), Vec::new());
    let options = uring::Options { slots: OUTGOING + 1, listeners, regions, shard, bells: Arc::clone(bells) };
    Ok(Uring::new(options)?)
}

/// A subject that does this again and again.
fn rounds(mut once: impl FnMut() -> Result<(), Failure> + 'static) -> Subject {
    Subject::new(move || {
        let (spent, ()) = on_clock(|| (0..COUNT).try_for_each(|_| once()))?;
        Ok(Round { count: COUNT, spent })
    })
}

fn write_and_read(event: &OwnedFd) -> Result<(), Failure> {
    rustix::io::write(event, &1u64.to_ne_bytes())?;
    rustix::io::read(event, &mut [0; 8])?;
    Ok(())
}

/// By the cheapest of all doors.
fn enter_the_kernel() -> Result<(), Failure> {
    let _ = rustix::process::getppid();
    Ok(())
}

/// One ring wakes the other. Both are this thread's, so nobody has to be put on a processor.
fn ring_and_hear(ringer: &mut Uring, hearer: &mut Uring) -> Result<(), Failure> {
    ringer.ring_bell(1);
    ringer.submit()?;
    hearer.wait(None)?;
    expect_nothing(hearer)
}

/// Looks at what has happened, with a deadline that has passed: nothing has.
fn turn(ring: &mut Uring) -> Result<(), Failure> {
    let now = ring.now();
    ring.wait(Some(now))?;
    expect_nothing(ring)
}

/// A bell says nothing to those who take completions.
fn expect_nothing(ring: &mut Uring) -> Result<(), Failure> {
    match ring.next() {
        None => Ok(()),
        Some(completion) => Err(format!("nobody asked for {completion:?}").into()),
    }
}
