//! Fingerprints: what makes two requests with one key the same request.
//!
//! A key that comes back with another fingerprint is refused as a mismatch, never answered with
//! the other request's result. Take into it what the operation must not differ in (amount, payee,
//! version), and leave out what may differ between honest retries (a timestamp, a trace id).
//!
//! - [`bytes()`]: over bytes as they are.
//! - [`json`]: over a JSON text's meaning: key order, whitespace and the spelling of numbers and
//!   escapes do not matter. See [`canonical`] for the exact form and its limits.
//! - [`json_fields`]: over chosen fields of one, with a digest of each, so that a mismatch can name
//!   the fields that differ.
//!
//! A fingerprint goes to the store; it is a plain SHA-256 and hides nothing that can be guessed.

mod canonical;
mod fields;
mod unique;

pub use canonical::canonical;
pub use fields::{Print, json_fields};

use crate::digest::sha256;
use hapax_core::{Fingerprint, Invalid};
use serde::Serialize;

/// Over bytes as they are.
///
/// ```
/// use hapax_client::fingerprint::bytes;
/// assert_eq!(bytes(b"charge 12.34 EUR"), bytes(b"charge 12.34 EUR"));
/// assert_ne!(bytes(b"charge 12.34 EUR"), bytes(b"charge 12.35 EUR"));
/// ```
#[must_use]
pub fn bytes(bytes: &[u8]) -> Fingerprint {
    Fingerprint { algorithm: Fingerprint::ALGORITHM_SHA256_BYTES, digest: sha256(bytes) }
}

/// Over the canonical form of a JSON text.
///
/// ```
/// use hapax_client::fingerprint::json;
/// assert_eq!(json(br#"{"a": 1, "b": "x"}"#)?, json(br#"{ "b":"\u0078", "a":1.0 }"#)?);
/// assert_ne!(json(br#"{"a": 1}"#)?, json(br#"{"a": "1"}"#)?);
/// # Ok::<(), hapax_client::Invalid>(())
/// ```
///
/// # Errors
/// [`Invalid`] names `body` when it is not JSON, or breaks a limit of [`canonical`].
pub fn json(text: &[u8]) -> Result<Fingerprint, Invalid> {
    Ok(of_canonical(&canonical(&unique::parse(text)?)?))
}

/// Over the canonical form of a value's JSON.
///
/// # Errors
/// [`Invalid`] names `body` when the value has no JSON form, or breaks a limit of [`canonical`].
pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Fingerprint, Invalid> {
    let value = serde_json::to_value(value).map_err(|_| Invalid::new("body", "has no json form"))?;
    Ok(of_canonical(&canonical(&value)?))
}

fn of_canonical(form: &[u8]) -> Fingerprint {
    Fingerprint { algorithm: Fingerprint::ALGORITHM_SHA256_JSON, digest: sha256(form) }
}
