//! What other layers read off the types: names, texts, bytes, and the bounds of the protocol.

use crate::world::*;
use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bytes::Bytes;
use hapax_core::command::ForgetMode;
use hapax_core::reply::{Basis, Granted};
use hapax_core::request::{Ask, GetAsk, ListAsk};
use hapax_core::{Blob, Key, LogTime, Money, QuotaLimits, Tenant, Token, limits};
use std::collections::{BTreeMap, BTreeSet};

const CONFIG: Configuration<LittleEndian, Varint, Limit<65536>> =
    bincode::config::standard().with_limit::<65536>();

#[test]
fn the_bounds_are_those_of_the_protocol() {
    assert_eq!(limits::RESULT_BYTES, 262_144);
    assert_eq!(limits::METADATA_BYTES, 8_192);
    assert_eq!(limits::CHECKPOINT_BYTES, 4_096);
    assert_eq!(limits::ENTRY_BYTES, 262_144);
}

#[test]
fn names_of_verbs_and_bases_are_stable() {
    let token = Token::of_grant(1, 2, 3).unwrap();
    let commands = [
        (claim(1), "claim"),
        (renew(token, 1), "renew"),
        (complete(token), "complete"),
        (release(token), "release"),
        (resolve_release(token), "resolve"),
        (forget(token, ForgetMode::Erase, false), "forget"),
    ];
    for (command, name) in commands {
        assert_eq!(command.verb.name(), name);
    }
    let bases = [Basis::Applied, Basis::Read, Basis::Stale].map(Basis::name);
    assert_eq!(bases, ["applied", "read", "stale"]);
}

fn get_ask(key: &str) -> GetAsk {
    GetAsk { address: address_of("acme/m1", "pay", key), fingerprint: None, wait_ms: 0, stale: false }
}

#[test]
fn asks_have_their_names_and_go_to_the_shard_of_their_address() {
    let tenant = Tenant::new("acme").unwrap();
    let list = Ask::List(ListAsk { shard: 5, tenant, operation: None, state: None, after: None, limit: 1 });
    assert_eq!((list.name(), list.shard(8)), ("list", 5));
    let mut places = BTreeSet::new();
    for n in 0..40 {
        let ask = get_ask(&format!("order-{n}"));
        let place = ask.address.shard(8);
        assert_eq!((Ask::Get(ask.clone()).name(), Ask::Get(ask).shard(8)), ("get", place));
        places.insert(place);
    }
    assert_eq!(places.len(), 8, "keys are spread over all shards");
}

#[test]
fn texts_say_what_they_are_and_never_a_byte_of_a_payload() {
    let token = Token::of_grant(1, 2, 3).unwrap();
    assert_eq!(format!("{token} {token:?}"), format!("{0} {0}", token.as_u64()));
    assert_eq!(LogTime(1_234).to_string(), "1234");
    assert_eq!(format!("{:?}", Blob::from("secret")), "6 bytes");
    assert_eq!(format!("{:?}", nonce(0xAB)), "ab".repeat(16));
    assert_eq!(format!("{:?}", fingerprint(0xCD)), "1:cdcdcdcd");
    assert_eq!(format!("{:?}", Key::new(vec![b'a', 0]).unwrap()), "a\\x00");
    assert_eq!(format!("{:?}", address_of("acme/m1", "pay", "k\n")), "acme/m1:pay:k\\n");
}

#[test]
fn values_give_back_what_they_were_made_of() {
    let money = Money::new(1_234, *b"EUR").unwrap();
    assert_eq!((money.minor_units(), money.currency()), (1_234, "EUR"));
    assert_eq!(nonce(7).as_bytes(), &[7; 16]);
    assert_eq!(Key::new("order-1").unwrap().as_bytes(), b"order-1");
    let bytes = Bytes::from_static(b"result");
    for blob in [Blob::from(bytes.clone()), Blob::from(&bytes[..]), Blob::from(bytes.to_vec())] {
        assert_eq!(blob.into_bytes(), bytes);
    }
    assert!(fields(&[]).is_empty() && !fields(&[("amount", 1)]).is_empty());
    assert!(QuotaLimits::default().is_none());
    assert!(!QuotaLimits { max_inflight: Some(1), max_records: None }.is_none());
}

#[test]
fn a_map_of_addresses_is_searched_by_canonical_bytes() {
    let map = BTreeMap::from([(address(), 1), (address_of("zeta", "pay", "k"), 2)]);
    assert_eq!(map.get(address().canonical()), Some(&1));
    assert_eq!(map.get(&b"another"[..]), None);
}

#[test]
fn a_blob_is_read_from_a_borrowed_buffer_too() {
    let bytes = bincode::encode_to_vec(Blob::from("result"), CONFIG).unwrap();
    let (blob, _): (Blob, usize) = bincode::borrow_decode_from_slice(&bytes, CONFIG).unwrap();
    assert_eq!(blob, Blob::from("result"));
}

#[test]
fn a_shadow_is_read_back_with_what_it_stands_for() {
    let mut world = World::new();
    let reply = world.run(1_000, &claim(1));
    let plain = granted(&reply).clone();
    let in_flight = world.run(1_001, &claim(2));
    let shadow = Granted { token: Token::NONE, shadow_of: Some(Box::new(in_flight)), ..plain.clone() };
    for granted in [plain, shadow] {
        let bytes = bincode::encode_to_vec(&granted, CONFIG).unwrap();
        let (back, _): (Granted, usize) = bincode::decode_from_slice(&bytes, CONFIG).unwrap();
        assert_eq!(back, granted);
    }
}
