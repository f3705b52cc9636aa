//! How values are written on the command line.

use hapax_core::{Fingerprint, Key, Money, Nonce, StateKind};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

/// Units of a duration, the longer names first so that `ms` is not read as `m`.
const UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Currencies without two decimals (ISO 4217).
const NO_DECIMALS: [&str; 16] = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF",
    "XPF",
];
const THREE_DECIMALS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];
const FOUR_DECIMALS: [&str; 2] = ["CLF", "UYW"];

/// `30s`, `500ms`, `2m`, `1h`, `7d`, `1.5s`; `0` needs no unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a duration: write 500ms, 30s, 2m, 1h or 7d".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit_ms) =
        UNITS_MS.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, *ms))).ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 3 || !digits(whole) || !digits(fraction) || number.ends_with('.')
    {
        return Err(wrong());
    }
    let thousandths: u64 = format!("{fraction:0<3}").parse().map_err(|_| wrong())?;
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let ms = whole.checked_mul(unit_ms).and_then(|ms| ms.checked_add(thousandths * unit_ms / 1000));
    ms.map(Duration::from_millis).ok_or_else(wrong)
}

/// `12.34EUR`, `500JPY`, `1.250KWD`: an amount and its ISO 4217 code.
pub(super) fn money(text: &str) -> Result<Money, String> {
    let wrong = || "not an amount and a currency: write 12.34EUR".to_owned();
    let at = text.len().checked_sub(3).filter(|at| text.is_char_boundary(*at)).ok_or_else(wrong)?;
    let (amount, currency) = text.split_at(at);
    let decimals = decimals_of(currency);
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || amount.ends_with('.') {
        return Err(wrong());
    }
    if fraction.len() > decimals {
        return Err(format!("{currency} has {decimals} decimals"));
    }
    let minor_units =
        format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| "amount too large".to_owned())?;
    let code: [u8; 3] = currency.as_bytes().try_into().map_err(|_| wrong())?;
    Money::new(minor_units, code).map_err(|invalid| invalid.to_string())
}

/// An amount as it is written on the command line.
pub(super) fn show_money(money: &Money) -> String {
    let decimals = decimals_of(money.currency());
    let digits = format!("{:0>width$}", money.minor_units(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let point = if decimals == 0 { "" } else { "." };
    format!("{whole}{point}{fraction}{}", money.currency())
}

fn decimals_of(currency: &str) -> usize {
    match currency {
        code if NO_DECIMALS.contains(&code) => 0,
        code if THREE_DECIMALS.contains(&code) => 3,
        code if FOUR_DECIMALS.contains(&code) => 4,
        _ => 2,
    }
}

/// 32 hex digits.
pub(super) fn nonce(text: &str) -> Result<Nonce, String> {
    let bytes = hex::<16>(text).ok_or("not 32 hex digits")?;
    Nonce::try_from(bytes).map_err(|invalid| invalid.to_string())
}

/// 64 hex digits, the SHA-256 of the body; `json:` or `opaque:` before them names another algorithm.
pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    let (algorithm, digits) = match text.split_once(':') {
        None => (Fingerprint::ALGORITHM_SHA256_BYTES, text),
        Some(("sha256", digits)) => (Fingerprint::ALGORITHM_SHA256_BYTES, digits),
        Some(("json", digits)) => (Fingerprint::ALGORITHM_SHA256_JSON, digits),
        Some(("opaque", digits)) => (Fingerprint::ALGORITHM_OPAQUE, digits),
        Some(_) => return Err("unknown algorithm: sha256, json or opaque".to_owned()),
    };
    let digest = hex::<32>(digits).ok_or("not 64 hex digits")?;
    Ok(Fingerprint { algorithm, digest })
}

/// Any bytes that the shell can pass.
pub(super) fn key(text: OsString) -> Result<Key, String> {
    Key::new(text.into_vec()).map_err(|invalid| invalid.to_string())
}

/// A state by its stable name.
pub(super) fn state(text: &str) -> Result<StateKind, String> {
    StateKind::ALL.into_iter().find(|state| state.name() == text && *state != StateKind::Absent).ok_or_else(
        || {
            let names: Vec<&str> = StateKind::ALL[1..].iter().map(|state| state.name()).collect();
            format!("not a state: {}", names.join(", "))
        },
    )
}

/// `host:port,host:port`; a port alone is on the host before it, `127.0.0.1` at first.
pub(super) fn cluster(text: &str) -> Result<Vec<String>, String> {
    let mut host = "127.0.0.1".to_owned();
    let mut nodes = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let port = match part.rsplit_once(':') {
            Some((name, port)) => {
                name.clone_into(&mut host);
                port
            }
            None => part,
        };
        let valid = port.parse::<u16>().is_ok_and(|port| port != 0);
        if host.is_empty() || !valid {
            return Err("not HOST:PORT,HOST:PORT (127.0.0.1:7401,7402,7403)".to_owned());
        }
        nodes.push(format!("{host}:{port}"));
    }
    if nodes.is_empty() { Err("names no node".to_owned()) } else { Ok(nodes) }
}

fn hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != BYTES * 2 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ms = |text| duration(text).map(|span| span.as_millis());
        assert_eq!(ms("30s"), Ok(30_000));
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("2m"), Ok(120_000));
        assert_eq!(ms("1.5h"), Ok(5_400_000));
        assert_eq!(ms("7d"), Ok(604_800_000));
        assert_eq!(ms("0"), Ok(0));
        assert_eq!(ms("0s"), Ok(0));
        for wrong in
            ["", "30", "s", "-1s", "1.s", ".5s", "1e3s", "30 s", "1.2345s", "99999999999999999999s", "é"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(duration("18446744073709551615d").is_err());
    }

    #[test]
    fn amounts_are_in_minor_units_of_their_currency() {
        let units = |text| money(text).map(|money| (money.minor_units(), money.currency().to_owned()));
        assert_eq!(units("12.34EUR"), Ok((1234, "EUR".into())));
        assert_eq!(units("12EUR"), Ok((1200, "EUR".into())));
        assert_eq!(units("12.3USD"), Ok((1230, "USD".into())));
        assert_eq!(units("500JPY"), Ok((500, "JPY".into())));
        assert_eq!(units("1.250KWD"), Ok((1250, "KWD".into())));
        assert_eq!(units("0.01GBP"), Ok((1, "GBP".into())));
        for wrong in [
            "",
            "EUR",
            "12.34",
            "12.345EUR",
            "1.5JPY",
            "-1EUR",
            "1,5EUR",
            "12.34eur",
            "1.EUR",
            ".5EUR",
            "1€€",
        ] {
            assert!(money(wrong).is_err(), "{wrong}");
        }
        assert!(money("99999999999999999999EUR").is_err());
        for text in ["12.34EUR", "0.05EUR", "500JPY", "0.007KWD", "0JPY"] {
            assert_eq!(show_money(&money(text).unwrap()), text);
        }
    }

    #[test]
    fn hex_values() {
        assert!(nonce("000102030405060708090a0b0c0d0e0F").is_ok());
        assert!(nonce(&"0".repeat(32)).is_err(), "all zero");
        assert!(nonce("00").is_err());
        assert!(nonce(&"é".repeat(16)).is_err());
        let digits = "ab".repeat(32);
        assert_eq!(fingerprint(&digits).unwrap().algorithm, Fingerprint::ALGORITHM_SHA256_BYTES);
        assert_eq!(fingerprint(&digits).unwrap().digest, [0xab; 32]);
        assert_eq!(fingerprint(&format!("opaque:{digits}")).unwrap().algorithm, 255);
        assert!(fingerprint(&format!("md5:{digits}")).is_err());
        assert!(fingerprint("zz").is_err());
    }

    #[test]
    fn clusters() {
        let nodes = |text| cluster(text).unwrap();
        assert_eq!(nodes("127.0.0.1:7401,7402"), ["127.0.0.1:7401", "127.0.0.1:7402"]);
        assert_eq!(nodes("7401"), ["127.0.0.1:7401"]);
        assert_eq!(nodes("a:1, b:2"), ["a:1", "b:2"]);
        assert_eq!(nodes("[::1]:1,2"), ["[::1]:1", "[::1]:2"]);
        for wrong in ["", ",", "a", "a:0", ":1", "a:70000"] {
            assert!(cluster(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn states() {
        assert_eq!(state("in_doubt"), Ok(StateKind::InDoubt));
        assert!(state("absent").is_err());
        assert!(state("doubt").unwrap_err().contains("claimed"));
    }
}
