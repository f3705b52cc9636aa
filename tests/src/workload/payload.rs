//! Bytes that say whose they are, so that a byte of one record in an answer about another is seen.
//!
//! Form: a magic number; the address as histories write it, preceded by its length (u16); the
//! fingerprint's algorithm (u16) and digest (16 bytes); the token (u64); filler. Numbers are
//! little-endian.

use hapax_checker::history::{self, Hash16, Name, Owner, Payload};
use hapax_core::{Address, Fingerprint, Token};

const MAGIC: &[u8; 4] = b"hpx1";

/// An address as histories write it.
#[must_use]
pub fn address_name(address: &Address) -> Name {
    history::address(address.tenant(), address.operation(), address.key())
}

/// A fingerprint as histories write it.
#[must_use]
pub fn fingerprint_of(fingerprint: &Fingerprint) -> history::Fingerprint {
    history::Fingerprint {
        algorithm: u16::from(fingerprint.algorithm),
        digest: Hash16::of(&fingerprint.digest),
    }
}

/// Bytes of this owner, with filler; two calls with another filler give other bytes.
#[must_use]
pub fn owned(address: &Address, fingerprint: &Fingerprint, token: Token, filler: &[u8]) -> Vec<u8> {
    let name = address_name(address);
    let fingerprint = fingerprint_of(fingerprint);
    let mut bytes = Vec::with_capacity(MAGIC.len() + name.as_str().len() + 28 + filler.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&u16::try_from(name.as_str().len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend_from_slice(name.as_str().as_bytes());
    bytes.extend_from_slice(&fingerprint.algorithm.to_le_bytes());
    bytes.extend_from_slice(&fingerprint.digest.0);
    bytes.extend_from_slice(&token.as_u64().to_le_bytes());
    bytes.extend_from_slice(filler);
    bytes
}

/// Bytes as histories write them.
#[must_use]
pub fn payload(bytes: &[u8]) -> Payload {
    Payload {
        digest: Hash16::of(bytes),
        len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        owner: owner(bytes).map(Box::new),
    }
}

/// As [`payload`]; absent when there are no bytes.
#[must_use]
pub fn some_payload(bytes: &[u8]) -> Option<Payload> {
    (!bytes.is_empty()).then(|| payload(bytes))
}

fn owner(bytes: &[u8]) -> Option<Owner> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (algorithm, rest) = rest.split_first_chunk()?;
    let (digest, rest) = rest.split_first_chunk()?;
    let (token, _) = rest.split_first_chunk()?;
    let fingerprint =
        history::Fingerprint { algorithm: u16::from_le_bytes(*algorithm), digest: Hash16(*digest) };
    let address = Name::from(std::str::from_utf8(name).ok()?);
    Some(Owner { address, fingerprint, token: u64::from_le_bytes(*token) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hapax_core::{Key, Operation, Tenant};

    #[test]
    fn bytes_say_whose_they_are_and_cut_ones_do_not() {
        let (tenant, operation) = (Tenant::new("a/b").unwrap(), Operation::new("pay").unwrap());
        let address = Address::new(&tenant, &operation, &Key::new([0, 255]).unwrap());
        let fingerprint = Fingerprint { algorithm: 1, digest: [7; 32] };
        let bytes = owned(&address, &fingerprint, Token::from(9), b"filler");
        let owner = payload(&bytes).owner.expect("it has an owner");
        assert_eq!((owner.address.as_str(), owner.token), ("a/b|pay|00ff", 9));
        assert_eq!(owner.fingerprint, fingerprint_of(&fingerprint));
        assert_eq!(payload(&bytes[..bytes.len() - 7]).owner, None);
        assert_eq!(payload(b"").owner, None);
    }
}
