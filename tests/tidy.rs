//! The rules of the house, as a test: who may import whom, where `unsafe` may stand, how long things may grow.
//!
//! Works on text alone. A small lexer blanks comments and literals, so that a word in a string is never taken for code;
//! what it cannot see (macros that build paths, for one) is left to review.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Each floor of the house and the floors below it that it may name. Everybody may name itself.
const FLOORS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("ring", &["base"]),
    ("net", &["base", "ring"]),
    ("wire", &["base"]),
    ("hub", &["base"]),
    ("dialect", &["base", "wire"]),
    ("shard", &["base", "ring", "net", "wire", "hub", "dialect"]),
    ("server", &["base", "ring", "net", "wire", "hub", "dialect", "shard"]),
];

/// Files that may hold `unsafe`; a trailing `*` stands for any ending.
const UNSAFE_FILES: &[&str] = &[
    "src/base/region.rs",
    "src/ring/mod.rs",
    "src/ring/uring/*",
    "src/hub/log/*",
    "src/server/machine.rs",
    "src/server/signals.rs",
];

/// Longest file in `src`: past this, two subjects share it.
const FILE_LINES_MAX: usize = 650;

/// Longest function in `src`, signature to closing brace.
const FUNCTION_LINES_MAX: usize = 90;

/// Widest line anywhere.
const LINE_WIDTH_MAX: usize = 120;

/// How far above an `unsafe` its reason may begin.
const SAFETY_REACH: usize = 3;

/// Folders that are not ours: build output, installed packages, git's own.
const FOREIGN: &[&str] = &["target", "node_modules", ".git", ".venv"];

#[test]
fn imports_point_down() {
    let mut faults = Faults::default();
    for file in sources("src") {
        let Some((floor, below)) = FLOORS.iter().find(|(floor, _)| file.is_in(&format!("src/{floor}"))) else {
            continue;
        };
        for (line, name) in file.crate_paths() {
            let known = FLOORS.iter().any(|(floor, _)| *floor == name);
            if known && name != *floor && !below.contains(&name.as_str()) {
                faults.add(&file, line, format!("`{floor}` may not name `{name}`, only {below:?}"));
            }
        }
    }
    faults.check("imports point down");
}

#[test]
fn every_floor_is_listed() {
    let root = root().join("src");
    let mut faults = Faults::default();
    for entry in fs::read_dir(&root).expect("src can be listed").map(|entry| entry.expect("an entry of src")) {
        let name = entry.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        if !["lib", "main"].contains(&name.as_str()) && !FLOORS.iter().any(|(floor, _)| *floor == name) {
            let _ = writeln!(faults.0, "src/{name}: no floor of this name in tests/tidy.rs");
        }
    }
    faults.check("every folder of src is a floor");
}

#[test]
fn unsafe_stands_only_in_listed_files_and_gives_its_reason() {
    let mut faults = Faults::default();
    for file in sources("src") {
        let listed = UNSAFE_FILES.iter().any(|listed| match listed.strip_suffix('*') {
            Some(beginning) => file.name.starts_with(beginning),
            None => file.name == *listed,
        });
        let lines: Vec<&str> = file.text.lines().collect();
        for (index, code) in file.code.lines().enumerate() {
            if !has_word(code, "unsafe") {
                continue;
            }
            if !listed {
                faults.add(&file, index + 1, "`unsafe` outside the listed files");
            }
            let claims = code.contains("unsafe {") || code.contains("unsafe impl");
            let reach = lines[index.saturating_sub(SAFETY_REACH)..=index].iter();
            if claims && !reach.clone().any(|line| line.contains("SAFETY")) {
                faults.add(&file, index + 1, "`unsafe` without its `// SAFETY` reason just above");
            }
        }
    }
    faults.check("unsafe is rare and explained");
}

#[test]
fn files_and_functions_stay_short() {
    let mut faults = Faults::default();
    for file in sources("src") {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.add(&file, lines, format!("{lines} lines, at most {FILE_LINES_MAX}"));
        }
        for (line, name, len) in file.functions() {
            if len > FUNCTION_LINES_MAX {
                faults.add(&file, line, format!("fn {name} has {len} lines, at most {FUNCTION_LINES_MAX}"));
            }
        }
    }
    faults.check("files and functions stay short");
}

#[test]
fn no_leftovers() {
    let mut faults = Faults::default();
    for file in sources("src").chain(sources("tests")).chain(sources("bench")).chain(sources("loadtest")) {
        if file.name == "tests/tidy.rs" {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            if let Some(word) = ["TODO", "FIXME", "XXX", "HACK"].into_iter().find(|word| has_word(line, word)) {
                faults.add(&file, index + 1, format!("{word} is not left behind"));
            }
        }
        for (index, code) in file.code.lines().enumerate() {
            let macros = ["dbg!(", "todo!(", "unimplemented!("];
            if let Some(word) = macros.into_iter().find(|word| code.contains(word)) {
                faults.add(&file, index + 1, format!("{word}…) is not left behind"));
            }
            if code.trim_start().starts_with("#[ignore") {
                faults.add(&file, index + 1, "a test that is ignored proves nothing");
            }
        }
    }
    faults.check("nothing half done is left behind");
}

#[test]
fn unwrap_belongs_to_tests() {
    let mut faults = Faults::default();
    for file in sources("src") {
        for (index, code) in file.code_without_tests().lines().enumerate() {
            if code.contains(".unwrap()") {
                faults.add(&file, index + 1, "`unwrap()`; use `expect` with the invariant as its text");
            }
        }
    }
    faults.check("unwrap belongs to tests");
}

#[test]
fn text_is_narrow_and_has_no_tabs() {
    let mut faults = Faults::default();
    for file in sources("src").chain(sources("tests")).chain(sources("bench")).chain(sources("loadtest")) {
        for (index, line) in file.text.lines().enumerate() {
            if line.contains('\t') {
                faults.add(&file, index + 1, "a tab");
            }
            if line.chars().count() > LINE_WIDTH_MAX {
                faults.add(&file, index + 1, format!("wider than {LINE_WIDTH_MAX}"));
            }
            if line.ends_with(' ') {
                faults.add(&file, index + 1, "a space at the end of the line");
            }
        }
    }
    faults.check("text is narrow and has no tabs");
}

#[test]
fn every_file_says_what_it_is() {
    let mut faults = Faults::default();
    for file in sources("src").chain(sources("tests")).chain(sources("bench")).chain(sources("loadtest")) {
        // What tests are beside their code for, their place says.
        if !file.text.starts_with("//!") && !file.is_test_module() {
            faults.add(&file, 1, "does not begin with `//!`");
        }
    }
    faults.check("every file says what it is");
}

#[test]
fn every_dependency_gives_its_reason() {
    let mut faults = Faults::default();
    for manifest in ["Cargo.toml", "bench/Cargo.toml", "loadtest/Cargo.toml"] {
        let file = File::read(&root(), &root().join(manifest));
        let (mut inside, mut above) = (false, "");
        for (index, line) in file.text.lines().enumerate() {
            if line.starts_with('[') {
                inside = line.trim_end_matches(']').ends_with("dependencies");
            } else if inside && line.contains(" = ") && !line.contains(" # ") && !above.starts_with('#') {
                faults.add(&file, index + 1, "a dependency without a comment that says what it is for");
            }
            above = line;
        }
    }
    faults.check("every dependency gives its reason");
}

#[test]
fn tests_never_doze() {
    let call = concat!("sle", "ep(");
    let mut faults = Faults::default();
    for file in sources("tests") {
        for (index, code) in file.code.lines().enumerate() {
            let is_name_end =
                |at: usize| code[..at].ends_with(|before: char| before == '_' || before.is_alphanumeric());
            if code.match_indices(call).any(|(at, _)| !is_name_end(at)) {
                faults.add(&file, index + 1, "a test waits for what it needs, with a deadline");
            }
        }
    }
    faults.check("tests never sleep");
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let places = [concat!("../", "shared"), concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/")];
    let mut faults = Faults::default();
    for path in walk(&root(), |_| true) {
        // What is no text has no lines to read.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let file = File::new(&root(), &path, text);
        if file.name == ".gitignore" {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            if let Some(place) = places.iter().find(|place| line.contains(**place)) {
                faults.add(&file, index + 1, format!("names {place}"));
            }
        }
    }
    faults.check("nothing names the machine it was written on");
}

/// What a rule found, one line each.
#[derive(Default)]
struct Faults(String);

impl Faults {
    fn add(&mut self, file: &File, line: usize, what: impl AsRef<str>) {
        let _ = writeln!(self.0, "{}:{line}: {}", file.name, what.as_ref());
    }

    fn check(self, rule: &str) {
        assert!(self.0.is_empty(), "{rule}:\n{}", self.0);
    }
}

/// A source file as it is, and once more with comments and literals blanked.
struct File {
    name: String,
    text: String,
    code: String,
}

impl File {
    fn read(root: &Path, path: &Path) -> Self {
        Self::new(root, path, fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    fn new(root: &Path, path: &Path, text: String) -> Self {
        let name = path.strip_prefix(root).expect("files are walked from the root").to_string_lossy().into_owned();
        let code = if name.ends_with(".rs") { blank(&text) } else { String::new() };
        Self { name, text, code }
    }

    /// Whether this is the module `path` or inside it.
    fn is_in(&self, path: &str) -> bool {
        self.name.strip_prefix(path).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// Whether this is a module of tests beside the code it tests.
    fn is_test_module(&self) -> bool {
        self.name.starts_with("src/") && (self.name.ends_with("tests.rs") || self.name.contains("/tests/"))
    }

    /// First names after `crate::`, groups included, with their lines.
    fn crate_paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            if self.code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            let line = line_of(&self.code, at);
            let rest = &self.code[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(first_names(group).into_iter().map(|name| (line, name))),
                None => found.push((line, leading_name(rest))),
            }
        }
        found
    }

    /// Every function with a body outside of test modules: line, name, length in lines.
    fn functions(&self) -> Vec<(usize, String, usize)> {
        let code = self.code_without_tests();
        let mut found = Vec::new();
        for (at, _) in code.match_indices("fn ") {
            if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            let Some(open) = code[at..].find(['{', ';']).map(|offset| at + offset) else { continue };
            if code.as_bytes()[open] == b'{' {
                let close = closing_brace(&code, open);
                let len = line_of(&code, close) - line_of(&code, at) + 1;
                found.push((line_of(&code, at), leading_name(&code[at + "fn ".len()..]), len));
            }
        }
        found
    }

    /// The code with test modules blanked; a file that is a test module has none left.
    fn code_without_tests(&self) -> String {
        if self.is_test_module() {
            return String::new();
        }
        let mut code = self.code.clone();
        while let Some(at) = code.find("#[cfg(test)]") {
            let end = match code[at..].find(['{', ';']).map(|offset| at + offset) {
                Some(open) if code.as_bytes()[open] == b'{' => closing_brace(&code, open),
                Some(semicolon) => semicolon,
                None => code.len() - 1,
            };
            let blanked: String = code[at..=end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            code.replace_range(at..=end, &blanked);
        }
        code
    }
}

/// The repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files below a folder of the repository.
fn sources(folder: &str) -> impl Iterator<Item = File> {
    let root = root();
    let paths = walk(&root.join(folder), |path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.into_iter().map(move |path| File::read(&root, &path))
}

/// Files below `folder` that `wanted` accepts, in the order of their names.
fn walk(folder: &Path, wanted: fn(&Path) -> bool) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("an entry of the folder").path()) {
            let name = path.file_name().expect("an entry has a name").to_string_lossy();
            if FOREIGN.contains(&name.as_ref()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The identifier that `text` begins with.
fn leading_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// First names of a `{a::b, c::{d, e}}` group, its opening brace already read.
fn first_names(group: &str) -> Vec<String> {
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b',' if depth == 0 => {
                names.push(leading_name(&group[start..at]));
                start = at + 1;
            }
            b'}' if depth == 0 => {
                names.push(leading_name(&group[start..at]));
                break;
            }
            b'}' => depth -= 1,
            _ => {}
        }
    }
    names
}

/// Where the brace that opens at `open` is closed.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (offset, byte) in code.as_bytes()[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return open + offset,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len() - 1
}

/// Whether `line` has `word` with no letter or digit beside it.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

/// The same text with comments, strings and character literals replaced by spaces, line by line as long as before.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("only whole literals are blanked")
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none does.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4),
        [b'"', ..] => at + quoted_len(rest, b'"'),
        [b'b', b'"', ..] if !in_word => at + 1 + quoted_len(&rest[1..], b'"'),
        [b'r', b'"' | b'#', ..] if !in_word => at + raw_len(rest),
        [b'b', b'r', b'"' | b'#', ..] if !in_word => at + 1 + raw_len(&rest[1..]),
        [b'\'', b'\\', ..] => at + quoted_len(rest, b'\''),
        // A lifetime has no closing quote after one character.
        [b'\'', ..] => {
            let len = rest.get(1).map_or(1, |first| match first {
                0xF0.. => 4,
                0xE0.. => 3,
                0xC0.. => 2,
                _ => 1,
            });
            if rest.get(1 + len) == Some(&b'\'') { at + len + 2 } else { at }
        }
        _ => at,
    }
}

/// Length of a quoted literal, both quotes included.
fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a raw string from its `r` on; 0 when it is a raw identifier.
fn raw_len(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    find(&rest[body..], &end).map_or(rest.len(), |found| body + found + end.len())
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[test]
fn the_lexer_blanks_literals_and_nothing_else() {
    let cases = [
        ("a \"b{\" c", "a      c"),
        ("a 'b' <'c> '{'", "a     <'c>    "),
        ("x // y {", "x       "),
        ("r#\"q\"z\"# k", "         k"),
        ("b\"q\\\"\" k", "       k"),
        ("'\\'' k", "     k"),
        ("/* { */ k", "        k"),
        ("for i in r#type k", "for i in r#type k"),
        ("'é' k", "     k"),
    ];
    for (text, want) in cases {
        assert_eq!(blank(text), want, "{text}");
    }
    let nested = "fn outer() {\n  { }\n}\n#[cfg(test)]\nmod tests { fn inner() { x.unwrap() } }\nfn last() {}\n";
    let file = File::new(Path::new(""), Path::new("src/a.rs"), nested.to_owned());
    assert_eq!(file.functions(), [(1, "outer".to_owned(), 3), (6, "last".to_owned(), 1)]);
    assert!(!file.code_without_tests().contains("unwrap"));
    assert_eq!(first_names("base::{a, b}, hub::c}; x"), ["base", "hub"]);
}
