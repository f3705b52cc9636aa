//! The source files, and their code without comments, strings kept.

use crate::root;
use std::fs;
use std::path::Path;

/// One file.
pub(crate) struct Source {
    /// From the top level, with `/`.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

impl Source {
    /// Whether it is part of the product, not of its tests, benches and examples.
    pub(crate) fn is_product(&self) -> bool {
        let inside = self.path.starts_with("src/") && self.path.contains("/src/");
        inside
            && !self.path.ends_with("/tests.rs")
            && !self.path.contains("/src/tests/")
            && !self.path.rsplit_once("/src/").is_some_and(|(_, rest)| rest.contains("/tests/"))
    }

    /// The lines with their numbers, without comments; of a product file only those before its own
    /// tests.
    pub(crate) fn code(&self) -> Vec<(usize, &str)> {
        let own_tests = |line: &str| self.is_product() && line.trim_start().starts_with("#[cfg(test)]");
        let mut code = Vec::new();
        let mut lines = (1..).zip(self.text.lines()).peekable();
        while let Some((number, line)) = lines.next() {
            if own_tests(line) {
                let next = lines.peek().map_or("", |(_, next)| next.trim_start());
                // `#[cfg(test)] mod tests;` names a file that is no product file.
                if next.starts_with("mod ") && next.ends_with(';') {
                    lines.next();
                    continue;
                }
                break;
            }
            let kept = line.split("//").next().unwrap_or_default();
            // A `//` inside of a string is no comment.
            let kept = if kept.matches('"').count() % 2 == 1 { line } else { kept };
            code.push((number, kept));
        }
        code
    }

    /// Where a line of code has one of the needles.
    pub(crate) fn places(&self, needles: &[&str]) -> Vec<String> {
        let has = |line: &str| needles.iter().find(|needle| line.contains(**needle)).copied();
        self.code()
            .into_iter()
            .filter_map(|(number, line)| Some(format!("{}:{number}: {}", self.path, has(line)?)))
            .collect()
    }
}

/// Every file below these folders with this ending.
pub(crate) fn files(folders: &[&str], ending: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), ending, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every Rust file.
pub(crate) fn rust() -> Vec<Source> {
    let found = files(&["src", "tests", "benches"], ".rs");
    assert!(found.len() > 100, "the source was not found");
    found
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                walk(&path, ending, found);
            }
        } else if name.ends_with(ending)
            && let Ok(text) = fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
}

#[test]
fn comments_and_own_tests_are_no_code() {
    let text =
        "//! use tokio;\nlet a = 1; // tokio\nlet b = \"http://x\";\n#[cfg(test)]\nmod tests {\n tokio }\n";
    let source = Source { path: "src/core/src/x.rs".to_owned(), text: text.to_owned() };
    let code: Vec<&str> = source.code().into_iter().map(|(_, line)| line).collect();
    assert_eq!(code, ["", "let a = 1; ", "let b = \"http://x\";"]);
}
