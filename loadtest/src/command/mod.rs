//! The scenarios. Each conducts a crowd and some publishers, and returns its verdict with a report.

mod churn;
mod fanout;
mod hold;
mod reference;
mod session;
mod slow;
mod storm;

use serde_json::{Value, json};

use crate::options::{Options, Scenario};
use crate::report::{self, Report};
use crate::{Failure, machine};

/// What a run came to.
pub struct Outcome {
    /// The figures of the server, and before them those of its references.
    pub reports: Vec<(String, Report)>,
    /// What was not as it should be, in words.
    pub faults: Vec<String>,
}

/// Runs a scenario, prints what it found, and says whether all was well.
pub fn run(scenario: Scenario, options: &Options) -> Result<bool, Failure> {
    let machine = machine::Machine::look();
    let outcome = conduct(scenario, options)?;
    if options.json {
        println!("{:#}", to_json(scenario, options, &outcome, &machine));
    } else {
        let subjects: Vec<(String, &Report)> =
            outcome.reports.iter().map(|(name, report)| (name.clone(), report)).collect();
        print!("{}\n\n{}", machine.line(), report::to_text(&subjects));
    }
    for fault in &outcome.faults {
        eprintln!("loadtest: {fault}");
    }
    Ok(outcome.faults.is_empty())
}

/// Runs a scenario.
///
/// # Errors
/// It could not be run to its end. What the server did wrong is no error, but among the outcome's faults.
pub fn conduct(scenario: Scenario, options: &Options) -> Result<Outcome, Failure> {
    match scenario {
        Scenario::Hold => hold::run(options),
        Scenario::Fanout => fanout::run(options),
        Scenario::Storm => storm::run(options),
        Scenario::Slow => slow::run(options),
        Scenario::Churn => churn::run(options),
    }
}

/// The server's sections at the top, those of references under their names.
fn to_json(scenario: Scenario, options: &Options, outcome: &Outcome, machine: &machine::Machine) -> Value {
    let mut object = json!({
        "command": scenario.name(),
        "machine": machine.to_json(),
        "options": {
            "target": options.target.as_ref().map(|target| target.authority.clone()),
            "subscribers": options.subscribers,
            "streams": options.streams,
            "topics": options.topics,
            "protocol": options.protocol.name(),
            "publishers": options.publishers,
            "size": options.size,
            "batch": options.batch,
        },
        "faults": outcome.faults,
    });
    let (last, references) = outcome.reports.split_last().expect("a run has a report");
    if let (Value::Object(all), Value::Object(sections)) = (&mut object, last.1.to_json()) {
        all.extend(sections);
        if !references.is_empty() {
            let named = references.iter().map(|(name, report)| (name.clone(), report.to_json())).collect();
            all.insert("references".to_owned(), Value::Object(named));
        }
    }
    object
}
