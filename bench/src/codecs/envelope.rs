//! Events as they are published: the JSON around them.

use std::hint::black_box;

use plasma::wire::envelope::parse;

use super::events::published;
use super::operation::Operation;

/// What is measured here.
pub fn operations() -> Vec<Operation> {
    vec![parsing("envelope/parse-150", 150), parsing("envelope/parse-4k", 4096)]
}

fn parsing(name: &'static str, len: usize) -> Operation {
    let event = published(len);
    Operation::new(name, len, move || {
        black_box(&parse(black_box(&event)).expect("the event is well-formed"));
    })
}
