//! Single values of the command line, from the words for them.

use std::time::Duration;

use crate::Failure;
use crate::engine::{Close, Kind};
use crate::publish::http::Format;
use crate::publish::{Pace, Way};
use crate::target::Url;

pub(super) fn put<T>(place: &mut T, value: Result<T, Failure>) -> Result<(), Failure> {
    *place = value?;
    Ok(())
}

/// Digits, with `_` or `,` between them and `k` or `M` at the end as people like.
pub(super) fn count(word: &str, min: u32) -> Result<u32, Failure> {
    let (digits, factor) = match word.strip_suffix('k').or_else(|| word.strip_suffix('M')) {
        Some(digits) => (digits, if word.ends_with('k') { 1_000 } else { 1_000_000 }),
        None => (word, 1),
    };
    let number = digits.replace(['_', ','], "").parse::<u32>().ok().and_then(|number| number.checked_mul(factor));
    number.filter(|number| *number >= min).ok_or_else(|| format!("not a whole number of at least {min}").into())
}

pub(super) fn percent(word: &str) -> Result<u32, Failure> {
    count(word.trim_end_matches('%'), 0).ok().filter(|percent| *percent <= 100).ok_or_else(|| "not 0 to 100".into())
}

pub(super) fn time(word: &str) -> Result<Duration, Failure> {
    let seconds = word.trim_end_matches('s').parse::<f64>().ok();
    let time = seconds.filter(|seconds| (0.0..=86_400.0).contains(seconds)).map(Duration::from_secs_f64);
    time.ok_or_else(|| "not a number of seconds up to a day".into())
}

pub(super) fn pids(words: &str) -> Result<Vec<u32>, Failure> {
    words.split(',').map(|word| count(word, 1)).collect()
}

pub(super) fn header(word: &str) -> Result<(String, String), Failure> {
    let (name, value) = word.split_once(':').ok_or("not a name and a value with a colon between them")?;
    let clean = |text: &str| !text.is_empty() && !text.contains(['\r', '\n', '\0']);
    let (name, value) = (name.trim(), value.trim());
    if !clean(name) || !clean(value) {
        return Err("not a header".into());
    }
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn engine(word: &str) -> Result<Kind, Failure> {
    match word {
        "uring" => Ok(Kind::Uring),
        "raw" => Ok(Kind::Raw),
        _ => Err("there are uring and raw".into()),
    }
}

pub(super) fn format(word: &str) -> Result<Format, Failure> {
    match word {
        "plasma" => Ok(Format::Plasma),
        "raw" => Ok(Format::Raw),
        _ => Err("there are plasma and raw".into()),
    }
}

pub(super) fn pace(word: &str) -> Result<Pace, Failure> {
    if word == "max" {
        return Ok(Pace::Max);
    }
    let rate = match word.strip_suffix('k') {
        Some(thousands) => thousands.parse::<f64>().ok().map(|rate| rate * 1_000.0),
        None => word.replace(['_', ','], "").parse().ok(),
    };
    let rate = rate.filter(|rate| (0.001..=1e8).contains(rate)).map(Pace::Rate);
    rate.ok_or_else(|| "neither a number of events per second nor max".into())
}

pub(super) fn way(url: &str, format: Format, token: Option<String>) -> Result<Way, Failure> {
    match url.split_once("://") {
        Some(("redis", _)) => Ok(Way::Redis(url.parse()?)),
        Some(("grpc", place)) => Ok(Way::Grpc(place.parse()?, token)),
        _ => {
            let url: Url = url.parse()?;
            Ok(Way::Http(
                Url { path: if url.path.is_empty() { "/".to_owned() } else { url.path }, ..url },
                format,
                token,
            ))
        }
    }
}

pub(super) fn close(word: &str) -> Result<Close, Failure> {
    match word {
        "reset" => Ok(Close::Reset),
        "fin" => Ok(Close::Fin),
        _ => Err("there are reset and fin".into()),
    }
}
