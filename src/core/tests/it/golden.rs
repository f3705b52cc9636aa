//! Bytes and numbers that are frozen: another version of the code must make the same ones.

use crate::stages::{Stage, stage};
use crate::world::*;
use hapax_core::command::{Batch, Verdict};
use hapax_core::reply::{Ended, Mismatch};
use hapax_core::{
    Address, Blob, ErrorCode, LogTime, Metadata, Outcome, OutcomeClass, Record, Reply, ShardState, StateKind,
    Token, content_digest,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encode(value: impl bincode::Encode) -> String {
    hex(&bincode::encode_to_vec(value, bincode::config::standard()).unwrap())
}

#[test]
fn an_address_s_bytes_and_place() {
    let address = address_of("acme/m1", "pay", "k");
    assert_eq!(hex(address.canonical()), "000761636d652f6d31037061796b");
    assert_eq!(address.placement_hash(), PLACEMENT_HASH);
    assert_eq!([1, 16, 1024].map(|shards| address.shard(shards)), [0, 4, 612]);
    assert_eq!(address.shard(0), 0);
}

const PLACEMENT_HASH: u64 = 14_815_757_697_932_936_804;

#[test]
fn no_two_addresses_share_an_encoding() {
    let parts = [("a", "b", "cd"), ("a", "bc", "d"), ("ab", "c", "d"), ("a/b", "c", "d"), ("a", "b", "d")];
    for (i, one) in parts.iter().enumerate() {
        for other in &parts[..i] {
            assert_ne!(address_of(one.0, one.1, one.2), address_of(other.0, other.1, other.2));
        }
    }
}

#[test]
fn a_token_is_epoch_index_and_position_in_63_bits() {
    let token = |epoch, index, position| Token::of_grant(epoch, index, position).map(Token::as_u64);
    assert_eq!(token(0, 0, 1), Some(1));
    assert_eq!(token(0, 1, 0), Some(1 << 12));
    assert_eq!(token(1, 0, 0), Some(1 << 56));
    assert_eq!(token(127, (1 << 44) - 1, 4095), Some(u64::MAX >> 1), "fits a signed column");
    assert_eq!(token(128, 0, 0), None);
    assert_eq!(token(0, 1 << 44, 0), None);
    assert_eq!(token(0, 0, 4096), None);
    assert_eq!(token(0, 0, 0), None, "that would be no token");
    // An epoch outweighs every index, an index every position.
    assert!(token(2, 0, 0) > token(1, (1 << 44) - 1, 4095));
    assert!(token(1, 8, 0) > token(1, 7, 4095));
}

#[test]
fn an_outcome_s_digest() {
    let bare =
        Outcome { class: OutcomeClass::Success, result: Blob::default(), metadata: Metadata::default() };
    assert_eq!(hex(&bare.digest()), "556b197da030965121dda95bb8f0a735");
    assert_eq!(hex(&success().digest()), "f217a5cf75d420bb2bb33bde73737153");
}

/// The canonical form written out by hand, so that the digest is of what its page says.
#[test]
fn an_outcome_s_digest_is_over_its_canonical_form() {
    let mut form = vec![1];
    let counted = |form: &mut Vec<u8>, text: &str| {
        form.extend(u64::try_from(text.len()).unwrap().to_le_bytes());
        form.extend(text.as_bytes());
    };
    counted(&mut form, "paid");
    form.push(1);
    counted(&mut form, "text/plain");
    form.extend([1, 200, 0]);
    form.extend(1u64.to_le_bytes());
    counted(&mut form, "etag");
    counted(&mut form, "paid");
    let expected = xxhash_rust::xxh3::xxh3_128(&form).to_le_bytes();
    assert_eq!(success().digest(), expected);
    let decided = [&[1][..], &expected].concat();
    assert_eq!(verdict(success()).digest(), xxhash_rust::xxh3::xxh3_128(&decided).to_le_bytes());
    assert_eq!(Verdict::Release.digest(), xxhash_rust::xxh3::xxh3_128(&[2]).to_le_bytes());
}

#[test]
fn an_outcome_s_digest_tells_its_parts_apart() {
    let base = outcome(OutcomeClass::Success, "ab");
    let with = |change: fn(&mut Outcome)| {
        let mut changed = base.clone();
        change(&mut changed);
        changed.digest()
    };
    let digests = [
        base.digest(),
        with(|outcome| outcome.class = OutcomeClass::Rejected),
        with(|outcome| outcome.class = OutcomeClass::Error),
        with(|outcome| outcome.result = Blob::from("abc")),
        with(|outcome| outcome.metadata.content_type = None),
        with(|outcome| outcome.metadata.content_type = Some(String::new())),
        with(|outcome| outcome.metadata.status = None),
        with(|outcome| outcome.metadata.status = Some(0)),
        with(|outcome| outcome.metadata.headers.clear()),
        with(|outcome| outcome.metadata.headers[0] = ("eta".to_owned(), "gab".to_owned())),
        with(|outcome| outcome.metadata.headers.push((String::new(), String::new()))),
    ];
    for (i, digest) in digests.iter().enumerate() {
        assert!(!digests[..i].contains(digest), "{i}");
    }
}

#[test]
fn a_verdict_s_digest() {
    assert_eq!(hex(&Verdict::Release.digest()), "ffdf939e6c2ef4c9bf6217cb2f15abe3");
    assert_eq!(hex(&verdict(success()).digest()), "9c9b21249a46ea18501d5a2e43d6d71f");
}

#[test]
fn a_shard_s_digests() {
    let staged = stage(Stage::Marked);
    assert_eq!(format!("{:032x}", staged.world.state.digest), "7472682a6a904d029f0bf4aa1ed6597f");
    let record = staged.world.record().unwrap();
    let digest = content_digest(&address(), record, LogTime(staged.now));
    assert_eq!(format!("{digest:032x}"), "b37c24fada662a0cbd8a32f64e32f20e");
}

#[test]
fn a_record_s_bytes_in_each_state() {
    let bytes = |at| encode(stage(at).world.record().unwrap().clone());
    assert_eq!(
        bytes(Stage::Marked),
        "01010101010101010101010101010101010101010101010101010101010101010100fd0010000000000001fd0010000000000001010101010101010101010101010101010100010774726163652d3100000101fbbc02fbd007fb1027fb50c30001fbe803fb56046400010100010774726163652d31"
    );
    assert_eq!(
        bytes(Stage::Released),
        "01010101010101010101010101010101010101010101010101010101010101010100fd0010000000000001fd0010000000000001010101010101010101010101010101010100010774726163652d3100000101fbbc02fbd007fb1027fb50c3000201fbfc030000"
    );
    assert_eq!(
        bytes(Stage::Completed),
        "01010101010101010101010101010101010101010101010101010101010101010100fd0010000000000001fd0010000000000001010101010101010101010101010101010100010774726163652d3100000101fbbc02fbd007fb1027fb50c30004010470616964010a746578742f706c61696e01c80104657461670470616964f217a5cf75d420bb2bb33bde73737153fbfc03fb0c2b"
    );
    assert_eq!(
        bytes(Stage::ResolvedComplete),
        "01010101010101010101010101010101010101010101010101010101010101010100fd0010000000000001fd0010000000000001010101010101010101010101010101010100010774726163652d3100000101fbbc02fbd007fb1027fb50c301fd00100000000000019c9b21249a46ea18501d5a2e43d6d71ffbb0040012636865636b656420746865206c656467657204010470616964010a746578742f706c61696e01c80104657461670470616964f217a5cf75d420bb2bb33bde73737153fbb004fbc02b"
    );
    assert_eq!(
        bytes(Stage::Erased),
        "01010101010101010101010101010101010101010101010101010101010101010100fd0010000000000001fd00100000000000010101010101010101010101010101010101000000000101fbbc02fbd007fb1027fb50c300050000000000000000000000000000000000fbfc03fb5cee"
    );
}

#[test]
fn a_record_s_bytes_are_read_back() {
    for at in Stage::ALL.into_iter().filter(|at| *at != Stage::Absent) {
        let staged = stage(at);
        let settled = staged.world.record().unwrap().settle(LogTime(staged.now)).unwrap().into_owned();
        let bytes = bincode::encode_to_vec(&settled, bincode::config::standard()).unwrap();
        let (back, length): (Record, usize) =
            bincode::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
        assert_eq!((back, length), (settled, bytes.len()), "{at:?}");
        for cut in 0..bytes.len() {
            let cut = bincode::decode_from_slice::<Record, _>(&bytes[..cut], bincode::config::standard());
            assert!(cut.is_err(), "{at:?}");
        }
    }
}

#[test]
fn the_bytes_of_small_values() {
    assert_eq!(encode(Batch { time: LogTime(7), commands: vec![] }), "0700");
    assert_eq!(encode(ShardState::new(3, 1)), "0301000000");
    assert_eq!(encode(Reply::Ended(Ended::Lapsed)), "0402");
    assert_eq!(encode(Reply::Mismatch(Mismatch { algorithm: true, fields: vec!["a".into()] })), "0301010161");
    assert_eq!(encode(Token::from(1 << 56)), "fd0000000000000001");
    assert_eq!(StateKind::ALL.map(encode), ["01", "02", "03", "04", "05", "06"]);
    let codes: Vec<String> = (1..=12u8).map(|number| format!("{number:02x}")).collect();
    assert_eq!(ErrorCode::ALL.map(encode).to_vec(), codes);
    for code in ErrorCode::ALL {
        assert_eq!(encode(code), format!("{:02x}", code.number()));
    }
}

#[test]
fn an_address_that_breaks_its_rules_is_not_read() {
    let long = [b'a'; 300];
    let cases: [&[u8]; 7] = [
        b"",
        b"\x00\x01a\x01b",
        b"\x00\x01A\x01bk",
        b"\x00\x00\x01bk",
        b"\x00\x01a\x00k",
        b"\x00\x05a//bc\x01bk",
        &[b"\x00\x01a\x01b", &long[..256]].concat(),
    ];
    for bytes in cases {
        assert!(Address::from_canonical(bytes).is_err(), "{bytes:?}");
        let encoded = bincode::encode_to_vec(bytes, bincode::config::standard()).unwrap();
        let read = bincode::decode_from_slice::<Address, _>(&encoded, bincode::config::standard());
        assert!(read.is_err(), "{bytes:?}");
    }
    let longest = [b"\x00\x01a\x01b", &long[..255]].concat();
    assert_eq!(Address::from_canonical(&longest).unwrap().key().len(), 255);
}
