//! What was said, and where: the environment and the command line against the table, before anything is given a
//! meaning.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::ConfigError;
use super::nearest::nearest;
use super::setting::{Kind, Setting, Spelling};
use super::table::TABLE;
use super::value;

/// What the command line wants instead of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Run,
    Check,
    Help,
    Print,
    Reference,
    Version,
}

/// The flags that ask, with their short forms.
const ASKS: [(&str, Option<char>, Ask); 5] = [
    ("help", Some('h'), Ask::Help),
    ("version", Some('V'), Ask::Version),
    ("check", None, Ask::Check),
    ("print-config", None, Ask::Print),
    ("print-reference", None, Ask::Reference),
];

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    Variable(&'static str),
    Flag,
}

/// The text for one setting.
#[derive(Clone, Debug)]
pub struct Value {
    pub text: String,
    pub origin: Origin,
}

/// All that was said.
pub struct Said {
    pub ask: Ask,
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<String>,
    /// One per row of the table.
    values: Vec<Option<Value>>,
}

impl Said {
    /// Takes in the command line and the environment.
    pub fn hear<A, E>(args: A, env: E) -> Self
    where
        A: IntoIterator<Item: Into<OsString>>,
        E: IntoIterator<Item = (OsString, OsString)>,
    {
        let mut said =
            Self { ask: Ask::Run, errors: Vec::new(), warnings: Vec::new(), values: vec![None; TABLE.len()] };
        said.hear_flags(&mut lexopt::Parser::from_args(args));
        said.hear_environment(env);
        for (setting, value) in TABLE.iter().zip(&mut said.values) {
            if value.is_none() {
                *value = setting.default.text().map(|text| Value { text, origin: Origin::Default });
            }
        }
        said
    }

    /// Every setting with what holds for it.
    pub fn values(&self) -> impl Iterator<Item = (&'static Setting, Option<&Value>)> {
        TABLE.iter().zip(self.values.iter().map(Option::as_ref))
    }

    /// Whether anybody said anything about the setting of this name.
    pub fn mentions(&self, name: &str) -> bool {
        self.values()
            .any(|(setting, value)| setting.name == name && value.is_some_and(|value| value.origin != Origin::Default))
    }

    fn hear_flags(&mut self, args: &mut lexopt::Parser) {
        loop {
            let result = match args.next() {
                Ok(None) => return,
                Ok(Some(lexopt::Arg::Long(name))) => {
                    let name = name.to_owned();
                    self.hear_flag(&name, args)
                }
                Ok(Some(lexopt::Arg::Short(letter))) => self
                    .hear_ask(args, |ask| ask.1 == Some(letter))
                    .unwrap_or_else(|| Err(format!("-{}: unknown; see plasma --help", letter.escape_debug()))),
                Ok(Some(lexopt::Arg::Value(text))) => {
                    Err(format!("{:?}: not a flag; see plasma --help", text.to_string_lossy()))
                }
                // A value nobody took, as in `--help=x`; lexopt would repeat it, and it may be a secret.
                Err(lexopt::Error::UnexpectedValue { option, .. }) => Err(format!("{option}: takes no value")),
                Err(error) => Err(error.to_string()),
            };
            self.errors.extend(result.err().map(ConfigError::new));
        }
    }

    fn hear_ask(
        &mut self,
        args: &mut lexopt::Parser,
        which: impl Fn(&(&str, Option<char>, Ask)) -> bool,
    ) -> Option<Result<(), String>> {
        let (name, _, ask) = ASKS.into_iter().find(which)?;
        if args.optional_value().is_some() {
            return Some(Err(format!("--{name}: takes no value")));
        }
        // Who asks for help among other things needs it most.
        if self.ask != Ask::Help {
            self.ask = ask;
        }
        Some(Ok(()))
    }

    fn hear_flag(&mut self, name: &str, args: &mut lexopt::Parser) -> Result<(), String> {
        if let Some(result) = self.hear_ask(args, |ask| ask.0 == name) {
            return result;
        }
        let flag = format!("--{name}");
        let Some(at) = TABLE.iter().position(|setting| setting.flag() == flag) else {
            args.optional_value();
            return Err(unknown_flag(&flag));
        };
        let setting = &TABLE[at];
        let text = match args.optional_value() {
            Some(text) => text,
            None if setting.kind == Kind::Bool => next_truth(args),
            None => {
                args.value().map_err(|_| format!("{flag}: a value is missing: {flag}=<{}>", setting.kind.label()))?
            }
        };
        let text = text.into_string().map_err(|_| format!("{flag}: the value is no UTF-8"))?;
        if setting.kind == Kind::Secret {
            let name = setting.name;
            self.warnings.push(format!("{flag} shows a secret to every user of this machine: use the variable {name}"));
        }
        // An empty flag takes back what the variable says, unless empty means something.
        let text = if text.is_empty() && !setting.keeps_empty { setting.default.text() } else { Some(text) };
        self.values[at] = Some(Value { text: text.unwrap_or_default(), origin: Origin::Flag });
        Ok(())
    }

    fn hear_environment(&mut self, env: impl IntoIterator<Item = (OsString, OsString)>) {
        let env: BTreeMap<OsString, OsString> = env.into_iter().collect();
        for (at, setting) in TABLE.iter().enumerate() {
            let said = setting.names.iter().filter_map(|&(spelling, name)| {
                let text = env.get(OsStr::new(name))?;
                (setting.keeps_empty || !text.is_empty()).then_some((spelling, name, text))
            });
            self.hear_variables(at, said.collect());
        }
        for name in env.keys().filter_map(|name| name.to_str()) {
            let known = || TABLE.iter().flat_map(|setting| setting.names).map(|&(_, name)| name);
            if name.starts_with("PLASMA_") && !known().any(|known| known == name) && !of_kubernetes(name) {
                let documented = TABLE.iter().map(|setting| setting.name);
                let meant = nearest(name, documented).unwrap_or("plasma --help");
                self.warnings.push(format!("{} is not a setting; did you mean {meant}?", name.escape_debug()));
            }
        }
    }

    /// The first of the variables that are set for one setting holds, unless a flag does.
    fn hear_variables(&mut self, at: usize, said: Vec<(Spelling, &'static str, &OsString)>) {
        let setting = &TABLE[at];
        let Some(&(spelling, name, text)) = said.first() else { return };
        let Some(text) = text.to_str() else {
            self.errors.push(ConfigError::new(format!("{name}: the value is no UTF-8")));
            return;
        };
        if spelling == Spelling::Odd {
            self.warnings.push(format!("{name} is read as {}: better use that name", setting.name));
        }
        for (_, ignored, other) in &said[1..] {
            if *other != text {
                self.warnings.push(format!("{ignored} is ignored: {name} says otherwise and comes first"));
            }
        }
        if self.values[at].is_none() {
            self.values[at] = Some(Value { text: text.to_owned(), origin: Origin::Variable(name) });
        }
    }
}

/// A bare flag is true, unless a truth value follows.
fn next_truth(args: &mut lexopt::Parser) -> OsString {
    if let Some(mut rest) = args.try_raw_args()
        && rest.peek().and_then(OsStr::to_str).is_some_and(|next| value::boolean(next).is_ok())
        && let Some(next) = rest.next()
    {
        return next;
    }
    OsString::from("true")
}

fn unknown_flag(flag: &str) -> String {
    let flags: Vec<String> =
        TABLE.iter().map(Setting::flag).chain(ASKS.iter().map(|ask| format!("--{}", ask.0))).collect();
    let meant = nearest(flag, flags.iter().map(String::as_str)).unwrap_or("--help");
    format!("{}: unknown; did you mean {meant}?", flag.escape_debug())
}

/// Whether Kubernetes made this variable for a Service of the name `plasma`.
fn of_kubernetes(name: &str) -> bool {
    let port = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.starts_with("PLASMA_SERVICE_HOST")
        || name.starts_with("PLASMA_SERVICE_PORT")
        || name.strip_prefix("PLASMA_PORT_").is_some_and(port)
}
