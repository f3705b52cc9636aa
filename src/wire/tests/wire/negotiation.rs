//! Two sides agree on the highest version that both speak, or say why not.

use hapax_core::ErrorCode;
use hapax_wire::Versions;
use hapax_wire::version::VERSION;

fn range(min: u16, max: u16) -> Versions {
    Versions { min, max }
}

#[test]
fn the_highest_common_version_is_agreed_on_whoever_asks() {
    for (one, other, agreed) in [
        (range(1, 1), range(1, 1), 1),
        (range(1, 3), range(2, 5), 3),
        (range(2, 2), range(1, 9), 2),
        (range(0, u16::MAX), range(7, u16::MAX), u16::MAX),
    ] {
        assert_eq!(one.agree(other), Ok(agreed));
        assert_eq!(other.agree(one), Ok(agreed));
        assert!(one.contains(agreed) && other.contains(agreed));
    }
}

#[test]
fn no_common_version_is_a_definite_version_error_that_names_both_ranges() {
    for (one, other) in [(range(1, 2), range(3, 4)), (range(5, 1), range(1, 9)), (range(1, 9), range(5, 1))] {
        let refusal = one.agree(other).unwrap_err();
        assert_eq!((refusal.code, refusal.definite), (ErrorCode::Version, true));
        assert!(refusal.text.contains(&one.to_string()) && refusal.text.contains(&other.to_string()));
    }
}

#[test]
fn this_code_speaks_its_own_version() {
    assert!(Versions::SPOKEN.contains(VERSION));
}
