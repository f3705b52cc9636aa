//! The canonical form of a JSON value: that of RFC 8785, with stricter limits on numbers.

use hapax_core::Invalid;
use serde_json::{Map, Number, Value};

/// How deep a value may be nested.
const DEPTH: usize = 128;
/// From here on a double no longer tells neighbouring whole numbers apart (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The canonical form: no whitespace; object keys sorted by their UTF-16 code units; strings with
/// the shortest escapes; numbers in one spelling (`1`, `1.0` and `1e0` are `1`, `-0` is `0`).
///
/// Limits, each of which is refused rather than guessed at:
/// - Whole numbers are exact from -2^63 to 2^64-1. Any other number must lie between -2^53 and
///   2^53, and counts as the double nearest to it: two spellings that a double does not tell apart
///   (17 digits and more) are the same. Write larger or finer numbers as strings.
/// - At most 128 levels deep. No object may name a key twice (a parsed `Value` cannot; [`super::json`]
///   checks the text).
/// - Text is compared as code points: it is not normalised, so `é` written as one code point and as
///   two are different.
///
/// # Errors
/// [`Invalid`] names `body`.
pub fn canonical(value: &Value) -> Result<Vec<u8>, Invalid> {
    let mut out = Vec::new();
    write(value, DEPTH, &mut out)?;
    Ok(out)
}

fn write(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), Invalid> {
    let deeper = depth.checked_sub(1).ok_or(Invalid::new("body", "nested more than 128 deep"));
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out)?,
        Value::String(text) => write_text(text, out)?,
        Value::Array(items) => {
            let deeper = deeper?;
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, deeper, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => write_object(members, deeper?, out)?,
    }
    Ok(())
}

fn write_object(members: &Map<String, Value>, depth: usize, out: &mut Vec<u8>) -> Result<(), Invalid> {
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push(b'{');
    for (i, (name, value)) in sorted.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_text(name, out)?;
        out.push(b':');
        write(value, depth, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// serde_json escapes exactly as RFC 8785 asks: the two-character escapes where there is one,
/// `\u00xx` for the other control characters, and everything else as it is.
fn write_text(text: &str, out: &mut Vec<u8>) -> Result<(), Invalid> {
    serde_json::to_writer(out, text).map_err(|_| Invalid::new("body", "has no json form"))
}

fn write_number(number: &Number, out: &mut Vec<u8>) -> Result<(), Invalid> {
    let text = if let Some(whole) = number.as_u64() {
        whole.to_string()
    } else if let Some(whole) = number.as_i64() {
        whole.to_string()
    } else {
        write_double(number.as_f64().unwrap_or(f64::NAN))?
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// The shortest digits that name the double, as ECMAScript writes them.
fn write_double(double: f64) -> Result<String, Invalid> {
    // A literal beyond 64 bits arrives here as a double that stands for many of its neighbours.
    if !double.is_finite() || double.abs() >= EXACT {
        return Err(Invalid::new("body", "a number is beyond what is compared exactly"));
    }
    if double == 0.0 {
        return Ok("0".to_owned());
    }
    if double.abs() < 1e-6 { Ok(format!("{double:e}")) } else { Ok(format!("{double}")) }
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;
    use proptest::prelude::*;

    fn form(text: &str) -> String {
        let value = super::super::unique::parse(text.as_bytes()).expect("json");
        String::from_utf8(canonical(&value).expect("within the limits")).expect("utf-8")
    }

    #[test]
    fn the_form_is_that_of_rfc_8785() {
        // The sorting example of its section 3.2.3, and the literals of 3.2.2.
        let text = "{\"\u{20ac}\": \"Euro Sign\", \"\\r\": \"Carriage Return\", \"\u{fb33}\": \"Dalet\", \
                    \"1\": \"One\", \"\u{1f600}\": \"Emoji\", \"\\u0080\": \"Control\", \"\u{f6}\": \"o\"}";
        let sorted = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"\u{f6}\":\"o\",\
                      \"\u{20ac}\":\"Euro Sign\",\"\u{1f600}\":\"Emoji\",\"\u{fb33}\":\"Dalet\"}";
        assert_eq!(form(text), sorted);
        let numbers = "[4.50, 2e-3, 0.000000000000000000000000001, 1e-7, -0, -0.0, 1.0, 10e1, 123456789.125]";
        assert_eq!(form(numbers), "[4.5,0.002,1e-27,1e-7,0,0,1,100,123456789.125]");
        let text = r#"[ "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", null, true, false ]"#;
        assert_eq!(form(text), "[\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\",null,true,false]");
    }

    #[test]
    fn whole_numbers_are_exact_or_refused() {
        assert_eq!(
            form("[18446744073709551615, -9223372036854775808]"),
            "[18446744073709551615,-9223372036854775808]"
        );
        assert_eq!(form("9007199254740993"), "9007199254740993");
        for text in ["18446744073709551616", "-9223372036854775809", "9007199254740992.5", "1e300", "1e16"] {
            assert_eq!(json(text.as_bytes()).map_err(|e| e.field), Err("body"), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let deep = "[".repeat(129) + &"]".repeat(129);
        for text in
            ["", "{", "nul", "{} x", r#"{"a":1,"a":1}"#, r#"[{"b":{"c":0,"\u0063":1}}]"#, deep.as_str()]
        {
            assert_eq!(json(text.as_bytes()).map_err(|e| e.field), Err("body"), "{text}");
        }
        let mut value = Value::Null;
        for _ in 0..129 {
            value = Value::Array(vec![value]);
        }
        assert!(canonical(&value).is_err());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9_f64..1e9).prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::btree_map("\\PC{0,4}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Writes the value in another spelling: keys backwards, whitespace, every character escaped.
    fn respell(value: &Value, out: &mut String) {
        let text = |text: &str, out: &mut String| {
            out.push('"');
            text.encode_utf16().for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
            out.push_str("\" ");
        };
        match value {
            Value::String(string) => text(string, out),
            Value::Array(items) => {
                out.push_str("[\n");
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { " , " } else { "" });
                    respell(item, out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push_str("{\t");
                for (i, (name, item)) in members.iter().rev().enumerate() {
                    out.push_str(if i > 0 { "\r\n," } else { "" });
                    text(name, out);
                    out.push(':');
                    respell(item, out);
                }
                out.push('}');
            }
            Value::Number(number) if number.is_f64() => {
                out.push_str(&format!("{:e}", number.as_f64().expect("a double")));
            }
            plain => out.push_str(&plain.to_string()),
        }
    }

    /// One leaf changed.
    fn alter(value: &mut Value) {
        match value {
            Value::Null => *value = Value::Bool(false),
            Value::Bool(flag) => *flag = !*flag,
            Value::Number(_) => *value = Value::String(value.to_string()),
            Value::String(text) => text.push('x'),
            Value::Array(items) if items.is_empty() => items.push(Value::Null),
            Value::Array(items) => alter(&mut items[0]),
            Value::Object(members) => match members.values_mut().next() {
                Some(member) => alter(member),
                None => drop(members.insert(String::new(), Value::Null)),
            },
        }
    }

    proptest! {
        #[test]
        fn spelling_does_not_matter(value in value()) {
            let mut other = String::new();
            respell(&value, &mut other);
            let plain = json(value.to_string().as_bytes())?;
            prop_assert_eq!(plain, json(other.as_bytes())?);
            prop_assert_eq!(plain, super::super::of(&value)?);
        }

        #[test]
        fn content_matters(value in value()) {
            let mut other = value.clone();
            alter(&mut other);
            prop_assert_ne!(canonical(&value)?, canonical(&other)?);
        }

        #[test]
        fn the_form_is_json_of_the_same_value_and_its_own_form(value in value()) {
            let first = canonical(&value)?;
            let again: Value = serde_json::from_slice(&first).expect("the form is json");
            prop_assert_eq!(&canonical(&again)?, &first);
        }

        #[test]
        fn garbage_is_refused_not_panicked_on(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _checked_for_panics_only = json(&bytes);
        }
    }
}
