//! What an input reached.
//!
//! A coverage-guided fuzzer is told by the compiler. Here the targets tell themselves, by what came out: which
//! error it was, what a decoded value is made of. An input that shows
//! something new is worth mutating further.

use std::fmt::{Debug, Display};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The features of one run.
#[derive(Debug, Default)]
pub struct Seen(Vec<u64>);

impl Seen {
    /// Notes one feature.
    pub fn note(&mut self, what: impl Hash) {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.0.push(hasher.finish());
    }

    /// Notes a number by its magnitude.
    pub fn magnitude(&mut self, what: &str, number: u64) {
        self.note((what, number.checked_ilog2()));
    }

    /// Notes which names of types and variants follow one another in the debug form of a value. Field names and
    /// what the fields hold say too little, or differ every time.
    pub fn shape(&mut self, value: &impl Debug) {
        self.words(&unquoted(&format!("{value:?}")), |word| {
            let mut letters = word.bytes();
            letters.next().is_some_and(|first| first.is_ascii_uppercase())
                && letters.next().is_some_and(|second| second.is_ascii_lowercase())
        });
    }

    /// Notes which words of a message follow one another, up to what it quotes.
    pub fn text(&mut self, message: &impl Display) {
        let message = message.to_string();
        self.words(message.split(['`', '"']).next().unwrap_or_default(), |word| {
            word.bytes().all(|byte| byte.is_ascii_alphabetic())
        });
    }

    fn words(&mut self, text: &str, counts: impl Fn(&str) -> bool) {
        let mut last = "";
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| counts(word)) {
            self.note((last, word));
            last = word;
        }
    }

    /// The features, in the order in which they were noted.
    #[must_use]
    pub fn features(&self) -> &[u64] {
        &self.0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A debug form without the strings in it.
fn unquoted(text: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let outside = |letter: &char| {
        let was_quoted = quoted;
        quoted = if quoted { escaped || *letter != '"' } else { *letter == '"' };
        escaped = was_quoted && *letter == '\\' && !escaped;
        !was_quoted
    };
    text.chars().filter(outside).collect()
}
