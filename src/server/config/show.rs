//! The table as text: help, the reference for readers, and what holds now.

use super::said::{Origin, Said};
use super::setting::{Group, Kind, Setting, Spelling};
use super::table::TABLE;

/// Widest line of the help.
const WIDTH: usize = 100;

/// `plasma 0.1.0`
pub fn version() -> String {
    format!("plasma {}\n", env!("CARGO_PKG_VERSION"))
}

const INTRODUCTION: &str = "\
Pushes events to very many clients at once: Server-Sent Events on a hand-rolled io_uring loop.

Usage: plasma [--name=value | --name value]...

  -h, --help             this text
  -V, --version          name and version
      --check            reads the configuration, says whether it is right, and ends
      --print-config     shows what holds for every setting and who said so
      --print-reference  all settings as Markdown tables

Every setting is a variable and a flag; flags win. An empty variable is as good as none, unless
noted. Durations are written like 300ms, 1.5h or 2h45m, sizes in bytes or with KiB, MiB or GiB.
A wrong value ends Plasma with exit code 2 before it opens anything.
";

/// All that `--help` says.
pub fn help() -> String {
    let mut text = format!("{}\n{INTRODUCTION}", version().trim_end());
    for group in Group::ALL {
        text.extend(["\n", group.title(), "\n"]);
        for setting in TABLE.iter().filter(|setting| setting.group == group) {
            let value = match setting.kind {
                Kind::Bool => "[=<bool>]".to_owned(),
                kind => format!(" <{}>", kind.label()),
            };
            text.push_str(&format!("  {}{value}\n", setting.flag()));
            let default = setting.default.label().map_or_else(String::new, |label| format!(", default {label}"));
            wrap(&mut text, &format!("{}{default}. {}", setting.name, setting.doc));
        }
    }
    text
}

/// Appends words, indented and in lines that fit.
fn wrap(text: &mut String, words: &str) {
    const INDENT: &str = "      ";
    let mut width = 0;
    for word in words.split_whitespace() {
        let len = word.chars().count();
        if width > 0 && width + 1 + len <= WIDTH {
            text.push(' ');
            width += 1 + len;
        } else {
            text.push_str(if width > 0 { "\n" } else { "" });
            text.push_str(INDENT);
            width = INDENT.len() + len;
        }
        text.push_str(word);
    }
    text.push('\n');
}

/// Every setting as Markdown, a table per group: what the README shows.
pub fn reference_markdown() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let heading = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{heading}### {}\n\n", group.title()));
        text.push_str("| Variable | Flag | Value | Default | What it does |\n| --- | --- | --- | --- | --- |\n");
        for setting in TABLE.iter().filter(|setting| setting.group == group) {
            text.push_str(&markdown_row(setting));
        }
    }
    text
}

fn markdown_row(setting: &Setting) -> String {
    let others: Vec<String> = setting
        .names
        .iter()
        .filter(|(spelling, _)| *spelling != Spelling::Main)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!(" Also read: {}.", others.join(", ")) };
    let kind = setting.kind.label().replace('|', ", ");
    let default = match setting.default {
        super::setting::Default::Text(text) if !text.is_empty() => format!("`{text}`"),
        default => default.label().unwrap_or_default().to_owned(),
    };
    format!("| `{}` | `{}` | {kind} | {default} | {}{others} |\n", setting.name, setting.flag(), setting.doc)
}

/// What holds for every setting, secrets masked, each with who said so.
pub fn values(said: &Said) -> String {
    let mut text = String::new();
    for (setting, value) in said.values() {
        let shown = value.map(|value| setting.mask(&value.text)).unwrap_or_default();
        let origin = match value.map(|value| value.origin) {
            Some(Origin::Flag) => format!("flag {}", setting.flag()),
            Some(Origin::Variable(name)) => format!("variable {name}"),
            Some(Origin::Default) => "default".to_owned(),
            None => "default, not set".to_owned(),
        };
        text.push_str(&format!("{}={shown}  # {origin}\n", setting.name));
    }
    text
}
