//! Rust sources as far as rules need them: without comments, texts and tests, and the paths they name.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One file of Rust.
pub struct Source {
    /// Where it is, from the top of the repository.
    pub place: String,
    /// What it says, without comments and without what is inside texts.
    pub code: String,
}

impl Source {
    /// All sources below these folders of the repository, in no order.
    pub fn below(root: &Path, folders: &[&str]) -> Vec<Source> {
        let mut files = Vec::new();
        for folder in folders {
            find(&root.join(folder), &mut files);
        }
        let read = |file: PathBuf| {
            let place = file.strip_prefix(root).unwrap().to_str().unwrap();
            Source {
                place: place.to_owned(),
                code: strip(&fs::read_to_string(&file).unwrap()),
            }
        };
        files.into_iter().map(read).collect()
    }

    /// The same without tests; nothing is left of a file that holds nothing else.
    pub fn without_tests(self) -> Source {
        let is_test = ["/tests/", "/examples/", "/fuzz/", "/benches/"];
        let is_test = is_test.iter().any(|folder| self.place.contains(folder))
            || self.place.ends_with("/tests.rs");
        let code = match is_test {
            true => String::new(),
            false => without_test_items(&self.code),
        };
        Source { code, ..self }
    }

    /// Every path that is named: of `use a::{b, c as d};` it is `a::b` and `a::c`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut words = Words::of(&self.code);
        while let Some(word) = words.next() {
            match word.as_str() {
                "use" => words.tree("", &mut paths),
                "crate" if words.before == "extern" => paths.extend(words.next()),
                name if is_name(name) && words.peek() == Some("::") => paths.push(words.path(word)),
                _ => {}
            }
            words.before = words.last.clone();
        }
        paths
    }

    /// Every word that is a name or a keyword.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let others = |c: char| !c.is_alphanumeric() && c != '_';
        self.code.split(others).filter(|word| !word.is_empty())
    }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Replaces comments by a space, and texts and characters by empty ones.
fn strip(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::new();
    let mut at = 0;
    let starts = |at: usize, what: &str| {
        what.chars()
            .enumerate()
            .all(|(n, c)| chars.get(at + n) == Some(&c))
    };
    while at < chars.len() {
        let is_in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if starts(at, "//") {
            at += chars[at..].iter().take_while(|c| **c != '\n').count();
            code.push(' ');
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                match (starts(at, "/*"), starts(at, "*/")) {
                    (true, _) => (depth, at) = (depth + 1, at + 2),
                    (_, true) => (depth, at) = (depth - 1, at + 2),
                    _ => at += 1,
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
            code.push(' ');
        } else if let Some(end) = raw_text_end(&chars, at).filter(|_| !is_in_word) {
            code.push_str("\"\"");
            at = end;
        } else if chars[at] == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
            code.push_str("\"\"");
        } else if chars[at] == '\'' && starts(at + 1, "\\") {
            at += 3;
            at += chars[at..].iter().take_while(|c| **c != '\'').count() + 1;
            code.push_str("' '");
        } else if chars[at] == '\'' && starts(at + 2, "'") {
            at += 3;
            code.push_str("' '");
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

/// Where a text like `r#"…"#`, `br"…"` or `c"…"` ends that begins here.
fn raw_text_end(chars: &[char], at: usize) -> Option<usize> {
    let prefix = chars[at..]
        .iter()
        .take_while(|c| c.is_ascii_lowercase())
        .count();
    let word: String = chars[at..at + prefix].iter().collect();
    if !["r", "br", "cr"].contains(&word.as_str()) {
        return None;
    }
    let hashes = chars[at + prefix..]
        .iter()
        .take_while(|c| **c == '#')
        .count();
    let start = at + prefix + hashes;
    if chars.get(start) != Some(&'"') {
        return None;
    }
    let mut end = start + 1;
    while end < chars.len() {
        let closes = chars[end] == '"'
            && chars[end + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        if closes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(end)
}

/// Leaves out every item that is compiled for tests only.
fn without_test_items(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let mut depth = 0;
        // To the first `;` or the end of the first block that is in no bracket of any kind.
        let mut end = item.len();
        for (at, c) in item.char_indices() {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == ';' || c == '}') {
                end = at + 1;
                break;
            }
        }
        rest = &item[end..];
    }
    kept + rest
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and single characters of everything else.
struct Words {
    words: Vec<String>,
    at: usize,
    /// The word before the one that was returned last, and that one.
    before: String,
    last: String,
}

impl Words {
    fn of(code: &str) -> Words {
        let mut words: Vec<String> = Vec::new();
        let mut chars = code.chars().peekable();
        while let Some(c) = chars.next() {
            if c.is_whitespace() {
                continue;
            }
            let mut word = String::from(c);
            let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
            if is_of_name(c) {
                while let Some(c) = chars.next_if(|c| is_of_name(*c)) {
                    word.push(c);
                }
            } else if c == ':' {
                word.extend(chars.next_if(|c| *c == ':'));
            }
            words.push(word);
        }
        Words {
            words,
            at: 0,
            before: String::new(),
            last: String::new(),
        }
    }

    fn next(&mut self) -> Option<String> {
        let word = self.words.get(self.at)?.clone();
        self.at += 1;
        self.last.clone_from(&word);
        Some(word)
    }

    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    /// The rest of a path that began with this word.
    fn path(&mut self, mut path: String) -> String {
        while self.peek() == Some("::") {
            let name = self.words.get(self.at + 1);
            let Some(name) = name.filter(|word| is_name(word)).cloned() else {
                self.next();
                break;
            };
            self.at += 2;
            path = format!("{path}::{name}");
        }
        path
    }

    /// One tree of a `use`, behind a prefix, and what follows it up to the end of its level.
    fn tree(&mut self, prefix: &str, paths: &mut Vec<String>) {
        let mut path = prefix.to_owned();
        while let Some(word) = self.next() {
            match word.as_str() {
                "{" => loop {
                    self.tree(&path, paths);
                    match self.last.as_str() {
                        "," => {}
                        _ => {
                            // The group is the end of its path.
                            path.clear();
                            break;
                        }
                    }
                },
                "as" => {
                    self.next();
                }
                "}" | "," | ";" => {
                    if !path.is_empty() && path != prefix {
                        paths.push(path);
                    }
                    return;
                }
                "::" => {}
                name if path.is_empty() => name.clone_into(&mut path),
                name => path = format!("{path}::{name}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            place: "a/src/b.rs".to_owned(),
            code: strip(text),
        }
    }

    #[test]
    fn paths_are_found_however_they_are_written() {
        for (text, expected) in [
            ("use rocksdb::DB;", &["rocksdb::DB"][..]),
            ("use rocksdb as db;", &["rocksdb"]),
            (
                "use ::rocksdb::{DB as D, ops::{Get, self}};",
                &["rocksdb::DB", "rocksdb::ops::Get", "rocksdb::ops::self"],
            ),
            ("use {std::fs, rocksdb};", &["std::fs", "rocksdb"]),
            ("pub(crate) use a::b; use c::*;", &["a::b", "c::*"]),
            ("extern crate rocksdb;", &["rocksdb"]),
            (
                "let x = <rocksdb::DB as T>::open(&rocksdb::Options::default());",
                &["rocksdb::DB", "rocksdb::Options::default"],
            ),
            (
                "fn f(d: &rocksdb::DB, v: Vec<rocksdb::E>) {}",
                &["rocksdb::DB", "rocksdb::E"],
            ),
            ("Vec::<rocksdb :: DB>::new()", &["Vec", "rocksdb::DB"]),
            (
                "// rocksdb::DB\n/* use rocksdb::DB; /* */ */ \"rocksdb::DB\" r#\"rocksdb::DB\"#",
                &[],
            ),
            (
                "let c = '\"'; rocksdb::go('\\'', \"\\\"\")",
                &["rocksdb::go"],
            ),
            (
                "fn f<'a>(x: &'a str) { my_rocksdb::go() }",
                &["my_rocksdb::go"],
            ),
        ] {
            assert_eq!(source(text).paths(), expected, "{text}");
        }
    }

    #[test]
    fn tests_are_left_out() {
        let text = "a::b(); #[cfg(test)] mod tests; c::d(); #[cfg(test)]\n#[path = \"x\"] mod t { fn f() { e::f() } } g::h();";
        let left = source(text).without_tests();
        assert_eq!(left.paths(), ["a::b", "c::d", "g::h"]);
    }
}
