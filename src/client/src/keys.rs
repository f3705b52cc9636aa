//! Idempotency keys: what names "the same operation".
//!
//! A good key comes from the business, not from the call: whoever repeats the operation, in this
//! process or after a crash in another, arrives at the same key. Three ways to one:
//!
//! - [`composed`]: from parts that already name it: `order`, its id, its version.
//! - [`content`]: from what the operation is about, where nothing names it.
//! - [`time_window`]: the same again is a repeat for a while, and a new operation after that.
//!
//! A key says *which* operation it is; the [fingerprint](crate::fingerprint) says *what* it was
//! asked to do. What must not change between two calls with one key belongs into the fingerprint.

use crate::digest::{base32, sha256};
use hapax_core::{Invalid, Key};
use std::time::Duration;

/// Joins parts with `:` so that different parts never give the same key: a `:` or `\` inside a
/// part is written with a `\` before it. Parts may be empty.
///
/// ```
/// use hapax_client::keys::composed;
/// assert_eq!(composed(&["order", "991", "v3"])?.as_bytes(), b"order:991:v3");
/// assert_ne!(composed(&["a:b", "c"])?, composed(&["a", "b:c"])?);
/// # Ok::<(), hapax_client::Invalid>(())
/// ```
///
/// # Errors
/// [`Invalid`] names `key` when the joined form is empty or longer than 255 bytes; [`content`] has
/// no such bound.
pub fn composed<P: AsRef<[u8]>>(parts: &[P]) -> Result<Key, Invalid> {
    let mut joined = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            joined.push(b':');
        }
        for byte in part.as_ref() {
            if matches!(byte, b':' | b'\\') {
                joined.push(b'\\');
            }
            joined.push(*byte);
        }
    }
    Key::new(joined)
}

/// A key from content of any length: `kind`, then 52 base32 digits of the SHA-256 over the parts
/// (each with its length, so that different parts never give the same content). `kind` tells an
/// operator what it is a key of, and keeps equal content of different kinds apart.
///
/// ```
/// use hapax_client::keys::content;
/// let key = content("order", &["cart-17", "3 x blue mug", "EUR 35.70"])?;
/// assert!(key.as_bytes().starts_with(b"order:"));
/// assert_eq!(key, content("order", &["cart-17", "3 x blue mug", "EUR 35.70"])?);
/// assert_ne!(key, content("order", &["cart-17", "4 x blue mug", "EUR 47.60"])?);
/// # Ok::<(), hapax_client::Invalid>(())
/// ```
///
/// # Errors
/// [`Invalid`] names `key` when `kind` is longer than about 200 bytes.
pub fn content<P: AsRef<[u8]>>(kind: &str, parts: &[P]) -> Result<Key, Invalid> {
    let mut framed = Vec::new();
    for part in parts {
        let part = part.as_ref();
        framed.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        framed.extend_from_slice(part);
    }
    composed(&[kind.as_bytes(), base32(&sha256(&framed)).as_bytes()])
}

/// A key that is `base`'s for one window of time: the windows follow each other from 1970 on, and
/// `now_ms` (since 1970) says which one it is. The window's length is part of the key, so that
/// changing it later never makes an old window pass for a new one.
///
/// Two calls on both sides of a window's edge are two operations, however close they are; take the
/// time from what is repeated (the message's own time, the scheduled time), not from the clock at
/// each attempt, or a retry over an edge runs again.
///
/// ```
/// use hapax_client::keys::{composed, time_window};
/// use std::time::Duration;
/// let base = composed(&["digest-mail", "user-7"])?;
/// let window = Duration::from_secs(300);
/// let key = time_window(&base, 1_700_000_100_000, window)?;
/// assert_eq!(key, time_window(&base, 1_700_000_399_999, window)?);
/// assert_ne!(key, time_window(&base, 1_700_000_400_000, window)?);
/// # Ok::<(), hapax_client::Invalid>(())
/// ```
///
/// # Errors
/// [`Invalid`] names `window` when it is shorter than a millisecond, `key` when the result is
/// longer than 255 bytes.
pub fn time_window(base: &Key, now_ms: u64, window: Duration) -> Result<Key, Invalid> {
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let number = now_ms.checked_div(window_ms).ok_or(Invalid::new("window", "shorter than 1 ms"))?;
    let (length, number) = (format!("w{window_ms}"), number.to_string());
    composed(&[base.as_bytes(), length.as_bytes(), number.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Parts over an alphabet of the characters that joining treats specially.
    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop_oneof![Just(b':'), Just(b'\\'), Just(b'a'), Just(b'w'), any::<u8>()];
        proptest::collection::vec(proptest::collection::vec(byte, 0..6), 1..5)
    }

    proptest! {
        #[test]
        fn different_parts_never_share_a_key(a in parts(), b in parts()) {
            let (joined_a, joined_b) = (composed(&a), composed(&b));
            if let (Ok(joined_a), Ok(joined_b)) = (joined_a, joined_b) {
                prop_assert_eq!(joined_a == joined_b, a == b);
            }
            prop_assert_eq!(content("k", &a) == content("k", &b), a == b);
        }

        #[test]
        fn splitting_a_part_changes_the_key(part in proptest::collection::vec(any::<u8>(), 2..9), at in 1_usize..8) {
            let at = at.min(part.len() - 1);
            let whole = vec![part.clone()];
            let split = vec![part[..at].to_vec(), part[at..].to_vec()];
            prop_assert_ne!(composed(&whole)?, composed(&split)?);
            prop_assert_ne!(content("k", &whole)?, content("k", &split)?);
        }

        #[test]
        fn a_window_holds_exactly_its_own_times(now in 0_u64..1 << 45, window_ms in 1_u64..100_000_000) {
            let base = composed(&["b"])?;
            let window = Duration::from_millis(window_ms);
            let start = now - now % window_ms;
            let key = time_window(&base, now, window)?;
            prop_assert_eq!(&key, &time_window(&base, start, window)?);
            prop_assert_eq!(&key, &time_window(&base, start + window_ms - 1, window)?);
            prop_assert_ne!(&key, &time_window(&base, start + window_ms, window)?);
            prop_assert_ne!(&key, &time_window(&base, now, Duration::from_millis(window_ms + 1))?);
        }
    }

    #[test]
    fn the_forms_are_frozen() -> Result<(), Invalid> {
        // A changed form would make every key in use a new one: everything would run again.
        assert_eq!(composed(&["a:b", "", "c\\d"])?.as_bytes(), br"a\:b::c\\d");
        // The digits were computed with another implementation.
        assert_eq!(
            content("order", &["1", "2"])?.as_bytes(),
            b"order:yublc54e4eydj3znkxicfivarztce32doxpk3njfgklhp5uzoazq"
        );
        let windowed = time_window(&composed(&["m", "7"])?, 1_700_000_100_000, Duration::from_secs(300))?;
        assert_eq!(windowed.as_bytes(), br"m\:7:w300000:5666667");
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        assert_eq!(composed(&[""]).map_err(|e| e.field), Err("key"));
        assert_eq!(composed::<&str>(&[]).map_err(|e| e.field), Err("key"));
        assert_eq!(composed(&["x".repeat(256)]).map_err(|e| e.field), Err("key"));
        assert!(content("blob", &["x".repeat(1 << 20)]).is_ok());
        let base = composed(&["b"]).expect("short");
        assert_eq!(time_window(&base, 1, Duration::ZERO).map_err(|e| e.field), Err("window"));
    }
}
