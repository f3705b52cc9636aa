//! The byte forms of commands: read back as they were, and garbage never more than an error.

use crate::stages::{Stage, stage};
use crate::world::*;
use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use hapax_core::command::{Batch, Command, ForgetMode};
use hapax_core::{Address, Key, LogTime, Operation, Principal, Record, Reply, Tenant, Token};
use proptest::prelude::*;

const CONFIG: Configuration<LittleEndian, Varint, Limit<65536>> =
    bincode::config::standard().with_limit::<65536>();

fn batch() -> Batch {
    let token = Token::of_grant(1, 2, 3).unwrap();
    let commands = vec![
        claim_with(1, |claim| {
            claim.fields = fields(&[("amount", 1), ("payee", 2)]);
            claim.first_sent = Some(LogTime(3));
            claim.value = Some(hapax_core::Money::new(1200, *b"EUR").unwrap());
        }),
        checkpoint(token, 1, "half"),
        mark(token, 2),
        complete(token),
        release(token),
        resolve_complete(token),
        resolve_release(token),
        forget(token, ForgetMode::Erase, true),
        Command { principal: Principal::new("ann").unwrap(), not_after: Some(LogTime(9)), ..claim(2) },
    ];
    Batch { time: LogTime(7), commands }
}

#[test]
fn every_command_is_read_back_as_it_was() {
    let bytes = bincode::encode_to_vec(batch(), CONFIG).unwrap();
    let (back, length): (Batch, usize) = bincode::decode_from_slice(&bytes, CONFIG).unwrap();
    assert_eq!((back, length), (batch(), bytes.len()));
    for cut in 0..bytes.len() {
        assert!(bincode::decode_from_slice::<Batch, _>(&bytes[..cut], CONFIG).is_err(), "{cut}");
    }
}

#[test]
fn a_value_that_breaks_its_rules_is_not_read() {
    let zero_nonce = bincode::encode_to_vec([0u8; 16], CONFIG).unwrap();
    assert!(bincode::decode_from_slice::<hapax_core::Nonce, _>(&zero_nonce, CONFIG).is_err());
    let long = bincode::encode_to_vec("x".repeat(257), CONFIG).unwrap();
    assert!(bincode::decode_from_slice::<hapax_core::Label, _>(&long, CONFIG).is_err());
    let lower = bincode::encode_to_vec((5u64, *b"eur"), CONFIG).unwrap();
    assert!(bincode::decode_from_slice::<hapax_core::Money, _>(&lower, CONFIG).is_err());
    let field = hapax_core::FieldDigest { name: "amount".to_owned(), digest: [1; 32] };
    let twice = bincode::encode_to_vec(vec![field.clone(), field], CONFIG).unwrap();
    assert!(bincode::decode_from_slice::<hapax_core::Fields, _>(&twice, CONFIG).is_err());
    for tag in [0u8, 7, 255] {
        assert!(bincode::decode_from_slice::<hapax_core::Verb, _>(&[tag], CONFIG).is_err());
    }
}

/// An address is read from the bytes that a plain vector has, up to the longest that there is.
#[test]
fn an_address_is_read_up_to_its_longest_form_and_no_further() {
    let segment = "s".repeat(64);
    let tenant = Tenant::new([segment.as_str(); 4].join("/")).unwrap();
    let longest =
        Address::new(&tenant, &Operation::new("o".repeat(128)).unwrap(), &Key::new(vec![0xff; 255]).unwrap());
    let read = |canonical: Vec<u8>| {
        let bytes = bincode::encode_to_vec(&canonical, CONFIG).unwrap();
        bincode::decode_from_slice::<Address, _>(&bytes, CONFIG).map(|(address, used)| {
            assert_eq!(used, bytes.len());
            address
        })
    };
    assert_eq!(read(longest.canonical().to_vec()).unwrap(), longest);
    let plain = bincode::encode_to_vec(longest.canonical(), CONFIG).unwrap();
    assert_eq!(bincode::encode_to_vec(&longest, CONFIG).unwrap(), plain);
    let mut longer = longest.canonical().to_vec();
    longer.push(0);
    assert!(read(longer).is_err());
    assert!(read(vec![0; 4096]).is_err());
    assert!(read(Vec::new()).is_err());
    let huge = bincode::encode_to_vec(u64::MAX, CONFIG).unwrap();
    assert!(bincode::decode_from_slice::<Address, _>(&huge, CONFIG).is_err());
    let upper = [&[0, 1, b'T', 1, b'o'][..], b"k"].concat();
    assert!(read(upper).is_err(), "a tenant breaks its rules");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_an_error_or_a_value_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = bincode::decode_from_slice::<Batch, _>(&bytes, CONFIG);
        let _ = bincode::decode_from_slice::<Record, _>(&bytes, CONFIG);
        let _ = bincode::decode_from_slice::<Reply, _>(&bytes, CONFIG);
    }

    /// What a flipped bit leaves readable is still within its rules: it can be applied.
    #[test]
    fn a_flipped_bit_is_an_error_or_a_batch_that_can_be_applied(bit in any::<prop::sample::Index>()) {
        let mut bytes = bincode::encode_to_vec(batch(), CONFIG).unwrap();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok((batch, _)) = bincode::decode_from_slice::<Batch, _>(&bytes, CONFIG) {
            for at in Stage::ALL {
                let mut world = stage(at).world;
                let index = world.state.index + 1;
                let _ = hapax_core::apply_batch(&mut world.state, &batch, index, &mut world.records);
            }
        }
    }
}
