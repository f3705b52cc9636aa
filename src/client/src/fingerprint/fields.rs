//! Fingerprints over chosen fields of a JSON document.

use super::canonical::canonical;
use super::{of_canonical, unique};
use crate::digest::sha256;
use hapax_core::{FieldDigest, Fields, Fingerprint, Invalid};
use serde_json::{Map, Value};

/// A fingerprint with the digests of the fields that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Print {
    /// Over all chosen fields together.
    pub fingerprint: Fingerprint,
    /// Of each by itself.
    pub fields: Fields,
}

impl From<Fingerprint> for Print {
    fn from(fingerprint: Fingerprint) -> Self {
        Self { fingerprint, fields: Fields::default() }
    }
}

/// Over chosen fields of a JSON text: `(name, pointer)` with a JSON pointer (RFC 6901) each, at
/// most 16, in any order. The fingerprint is that of the canonical form of the object
/// `{name: value, ...}`; a field that the document does not have is left out of it, which is not
/// the same as null. What is not chosen does not matter.
///
/// ```
/// use hapax_client::fingerprint::json_fields;
/// let chosen = [("amount", "/amount"), ("card", "/source/card")];
/// let first = json_fields(br#"{"amount": 1234, "source": {"card": "c1"}, "sent": 1}"#, &chosen)?;
/// let retry = json_fields(br#"{"sent": 2, "source": {"card": "c1"}, "amount": 1234}"#, &chosen)?;
/// let other = json_fields(br#"{"amount": 9999, "source": {"card": "c1"}, "sent": 3}"#, &chosen)?;
/// assert_eq!(first, retry);
/// assert_ne!(first.fingerprint, other.fingerprint);
/// # Ok::<(), hapax_client::Invalid>(())
/// ```
///
/// # Errors
/// [`Invalid`] names `body` when it is not JSON within the limits of [`canonical`], `fields` when
/// there are none or more than 16, or a name is empty, longer than 64 bytes or given twice, or a
/// pointer is neither empty nor begins with `/`.
pub fn json_fields(text: &[u8], chosen: &[(&str, &str)]) -> Result<Print, Invalid> {
    if chosen.is_empty() {
        return Err(Invalid::new("fields", "none is chosen"));
    }
    let document = unique::parse(text)?;
    let mut object = Map::new();
    let mut digests = Vec::new();
    for (name, pointer) in chosen {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(Invalid::new("fields", "a pointer does not begin with /"));
        }
        let value = document.pointer(pointer);
        digests.push(FieldDigest { name: (*name).to_owned(), digest: field_digest(value)? });
        if let Some(value) = value {
            object.insert((*name).to_owned(), value.clone());
        }
    }
    let fields = Fields::new(digests)?;
    let fingerprint = of_canonical(&canonical(&Value::Object(object))?);
    Ok(Print { fingerprint, fields })
}

/// Of the canonical form; of nothing at all for an absent field, which no value's form is.
fn field_digest(value: Option<&Value>) -> Result<[u8; 32], Invalid> {
    Ok(sha256(&value.map(canonical).transpose()?.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOSEN: [(&str, &str); 2] = [("amount", "/amount"), ("card", "/source/card")];

    fn print(text: &str) -> Print {
        json_fields(text.as_bytes(), &CHOSEN).expect("within the limits")
    }

    #[test]
    fn only_what_is_chosen_matters_and_each_field_by_itself() {
        let base = print(r#"{"amount": 10, "source": {"card": "c"}, "noise": [1]}"#);
        assert_eq!(base, print(r#"{"source": {"card": "c", "more": 1}, "amount": 10.0}"#));
        let other = print(r#"{"amount": 11, "source": {"card": "c"}}"#);
        assert_ne!(base.fingerprint, other.fingerprint);
        let differs: Vec<&str> = (base.fields.as_slice().iter().zip(other.fields.as_slice()))
            .filter(|(a, b)| a.digest != b.digest)
            .map(|(a, _)| a.name.as_str())
            .collect();
        assert_eq!(differs, ["amount"]);
    }

    #[test]
    fn absent_null_and_swapped_are_three_things() {
        let absent = print(r#"{"amount": 10}"#);
        let null = print(r#"{"amount": 10, "source": {"card": null}}"#);
        assert_ne!(absent, null);
        assert_ne!(absent.fields, null.fields);
        let swapped = print(r#"{"amount": "c", "source": {"card": 10}}"#);
        assert_ne!(swapped.fingerprint, print(r#"{"amount": 10, "source": {"card": "c"}}"#).fingerprint);
    }

    #[test]
    fn the_order_of_choosing_does_not_change_the_fingerprint() {
        let text = br#"{"amount": 10, "source": {"card": "c"}}"#;
        let turned = json_fields(text, &[CHOSEN[1], CHOSEN[0]]).expect("within the limits");
        assert_eq!(turned.fingerprint, print(r#"{"amount": 10, "source": {"card": "c"}}"#).fingerprint);
    }

    #[test]
    fn a_bad_choice_is_refused_by_name() {
        let names: Vec<String> = (0..17).map(|i| format!("f{i}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "/a")).collect();
        for chosen in [&[][..], &[("a", "a")], &[("", "/a")], &[("a", "/a"), ("a", "/b")], &many] {
            assert_eq!(json_fields(b"{}", chosen).map_err(|e| e.field), Err("fields"));
        }
        assert_eq!(json_fields(b"{", &[("a", "/a")]).map_err(|e| e.field), Err("body"));
    }

    #[test]
    fn the_form_is_frozen() {
        // A changed form would make every retry across an upgrade a mismatch.
        let print = print(r#"{"amount": 10, "source": {"card": "c"}}"#);
        assert_eq!(print.fingerprint.digest, sha256(br#"{"amount":10,"card":"c"}"#));
        assert_eq!(print.fingerprint.algorithm, Fingerprint::ALGORITHM_SHA256_JSON);
        assert_eq!(print.fields.as_slice()[1].digest, sha256(br#""c""#));
    }
}
