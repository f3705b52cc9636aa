//! The bytes on disk and in the log. A golden value that changes means that old data can no longer be read.

mod records_support;

use hapax_core::command::{Forget, ForgetMode, Resolve, Verdict, VerdictComplete};
use hapax_core::record::{Claimed, Completed, InDoubt, Open, OpenCause, Resolution, Spent};
use hapax_core::{
    Batch, Blob, Command, FieldDigest, Fields, Fingerprint, Label, LogTime, Metadata, Money, Nonce, Outcome,
    OutcomeClass, Principal, Reason, Record, State, Token, Trace, Verb, content_digest,
};
use hapax_store::codec::CodecError;
use hapax_store::codec::batch::{command_bytes_max, decode_batch, encode_batch};
use hapax_store::codec::meta::{decode_meta, encode_meta};
use hapax_store::codec::record::{decode_record, encode_record};
use hapax_store::log::LogPosition;
use hapax_store::records::AppliedMeta;
use proptest::prelude::*;
use records_support::{address, batch, claim, command, complete, release, renew, terms};

fn outcome() -> Outcome {
    let metadata = Metadata {
        content_type: Some("text/plain".to_owned()),
        status: Some(201),
        headers: vec![("etag".to_owned(), "7".to_owned())],
    };
    Outcome { class: OutcomeClass::Rejected, result: Blob::from("declined"), metadata }
}

fn record(state: State) -> Record {
    let fields = vec![FieldDigest { name: "amount".to_owned(), digest: [9; 32] }];
    Record {
        fingerprint: Fingerprint { algorithm: 1, digest: [0xAB; 32] },
        fields: Fields::new(fields).expect("valid"),
        incarnation: Token::from(0x1001),
        token: Token::from(0x2002),
        nonce: Nonce::try_from([7; 16]).expect("valid"),
        attempt: 2,
        principal: Principal::new("svc").expect("valid"),
        first_trace: Some(Trace::new("00-aa").expect("valid")),
        value: Some(Money::new(1_234, *b"EUR").expect("valid")),
        label: Some(Label::new("order").expect("valid")),
        terms: terms(),
        resolution: Some(Resolution {
            token: Token::from(0x1001),
            verdict_digest: [3; 16],
            at: LogTime(5),
            principal: Principal::default(),
            reason: Reason::new("seen").expect("valid"),
        }),
        state,
    }
}

fn states() -> Vec<(&'static str, State)> {
    let claimed = Claimed {
        claimed_at: LogTime(100),
        deadline: LogTime(30_100),
        lease_ms: 30_000,
        checkpoint: Blob::from("step 3"),
        renewal_seq: 4,
        marked: true,
        prior_mark: false,
        trace: None,
    };
    let open = Open {
        cause: OpenCause::Released,
        since: LogTime(200),
        checkpoint: Blob::from("step 3"),
        marked: false,
    };
    let in_doubt =
        InDoubt { claimed_at: LogTime(100), since: LogTime(300), checkpoint: Blob::default(), marked: true };
    let completed = Completed {
        outcome: outcome(),
        digest: outcome().digest(),
        completed_at: LogTime(400),
        expires_at: LogTime(2_400),
    };
    let spent = Spent {
        class: Some(OutcomeClass::Success),
        digest: [1; 16],
        completed_at: LogTime(500),
        forgotten_at: LogTime(9_500),
    };
    vec![
        ("claimed", State::Claimed(claimed)),
        ("open", State::Open(open)),
        ("in_doubt", State::InDoubt(in_doubt)),
        ("completed", State::Completed(completed)),
        ("spent", State::Spent(spent)),
    ]
}

fn verbs() -> Vec<(&'static str, Command)> {
    let token = Token::from(0x2002);
    let reason = Reason::new("seen").expect("valid");
    let verdict = Verdict::Complete(VerdictComplete { outcome: outcome(), retention_ms: 60_000 });
    vec![
        ("claim", claim(1, 2, 30_000)),
        ("renew", renew(1, token, 3, 30_000, true)),
        ("complete", complete(1, token, b"paid", 60_000)),
        ("release", release(1, token)),
        ("resolve", command(1, Verb::Resolve(Resolve { token, verdict, reason: reason.clone() }))),
        ("forget", command(1, Verb::Forget(Forget { token, mode: ForgetMode::Reset, force: true, reason }))),
    ]
}

fn meta() -> AppliedMeta {
    AppliedMeta {
        position: Some(LogPosition { term: 3, index: 1_000 }),
        time: LogTime(1_700_000_000_000),
        digest: u128::MAX / 3,
        epoch: 2,
        membership: vec![1, 2, 3].into(),
        format: 1,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares with the file of golden values, one `name hex` a line. With `UPDATE_GOLDEN` set, writes it anew.
fn golden(file: &str, values: &[(&str, Vec<u8>)]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let found: String = values.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        std::fs::write(&path, &found).expect("written");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file");
    assert_eq!(found, expected, "the bytes of {file} changed");
}

#[test]
fn records_have_their_golden_bytes_in_every_state() {
    let values: Vec<_> = states()
        .into_iter()
        .map(|(name, state)| (name, encode_record(&address(1), &record(state))))
        .collect();
    golden("records.txt", &values);
    for ((_, state), (_, bytes)) in states().into_iter().zip(&values) {
        assert_eq!(decode_record(address(1).canonical(), bytes), Ok(record(state)));
    }
}

#[test]
fn batches_have_their_golden_bytes_for_every_verb() {
    let one = |command| encode_batch(&batch(1_700_000_000_000, vec![command])).to_vec();
    let mut values: Vec<_> = verbs().into_iter().map(|(name, command)| (name, one(command))).collect();
    values.push(("tick", encode_batch(&Batch { time: LogTime(5), commands: vec![] }).to_vec()));
    golden("batches.txt", &values);
    for ((_, command), (_, bytes)) in verbs().into_iter().zip(&values) {
        assert_eq!(decode_batch(bytes), Ok(batch(1_700_000_000_000, vec![command])));
    }
}

#[test]
fn applied_state_has_its_golden_bytes() {
    let values =
        [("meta", encode_meta(&meta(), b"place")), ("new", encode_meta(&AppliedMeta::default(), b"p"))];
    golden("meta.txt", &values);
    assert_eq!(decode_meta(&values[0].1, b"place"), Ok(meta()));
    assert_eq!(decode_meta(&values[1].1, b"p"), Ok(AppliedMeta::default()));
}

#[test]
fn every_flipped_bit_of_a_stored_value_is_found() {
    for (name, state) in states() {
        let bytes = encode_record(&address(1), &record(state));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = decode_record(address(1).canonical(), &flipped);
            assert!(found.is_err(), "{name}: bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(decode_record(address(1).canonical(), &bytes[..cut]).is_err(), "{name}: cut at {cut}");
        }
    }
    let bytes = encode_meta(&meta(), b"place");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_meta(&flipped, b"place").is_err(), "applied state: bit {bit}");
    }
}

#[test]
fn a_value_under_another_address_is_found() {
    let (_, state) = states().remove(3);
    let bytes = encode_record(&address(1), &record(state));
    assert_eq!(decode_record(address(2).canonical(), &bytes), Err(CodecError::Checksum("a record")));
}

#[test]
fn a_later_version_is_named() {
    let mut bytes = encode_batch(&batch(1, vec![claim(1, 1, 1_000)])).to_vec();
    bytes[0] = 2;
    assert_eq!(decode_batch(&bytes), Err(CodecError::Version { what: "a batch", found: 2 }));
    assert_eq!(decode_batch(&[]), Err(CodecError::Short("a batch")));
}

#[test]
fn a_batch_of_more_commands_than_an_entry_holds_is_refused() {
    let commands = |n: u64| (0..n).map(|key| claim(key, key + 1, 1_000)).collect();
    assert!(decode_batch(&encode_batch(&batch(1, commands(512)))).is_ok());
    assert!(decode_batch(&encode_batch(&batch(1, commands(513)))).is_err());
}

#[test]
fn the_largest_command_fits_the_bound_of_decoding() {
    let header = ("h".repeat(100), "v".repeat(8 * 1024 - 130));
    let metadata = Metadata { content_type: None, status: None, headers: vec![header] };
    let outcome = Outcome { class: OutcomeClass::Success, result: Blob::from(vec![7; 256 * 1024]), metadata };
    let token = Token::from(1);
    let verb = Verb::Complete(hapax_core::command::Complete { token, outcome, retention_ms: 1 });
    let batch = batch(1, vec![command(1, verb)]);
    assert_eq!(decode_batch(&encode_batch(&batch)), Ok(batch));
}

/// Every verb with the largest numbers and texts of these lengths.
fn filled(length: usize) -> Vec<Command> {
    let text = |max: usize| "x".repeat(length.min(max));
    let token = Token::from(u64::MAX);
    let header = |n: usize| (format!("{n}{}", text(260)), text(300));
    let metadata = Metadata {
        content_type: Some(text(300)),
        status: Some(u16::MAX),
        headers: (0..length.min(12)).map(header).collect(),
    };
    let outcome = Outcome { class: OutcomeClass::Error, result: vec![7; length].into(), metadata };
    let digest = |n: usize| FieldDigest { name: format!("{n:0>2}{}", text(62)), digest: [9; 32] };
    let claim = hapax_core::command::Claim {
        fingerprint: Fingerprint { algorithm: 255, digest: [0xAB; 32] },
        fields: Fields::new((0..length.min(16)).map(digest).collect()).expect("valid"),
        nonce: Nonce::try_from([255; 16]).expect("valid"),
        lease_ms: u64::MAX,
        first_sent: Some(LogTime(u64::MAX)),
        label: Some(Label::new(text(256)).expect("valid")),
        trace: Some(Trace::new(text(128)).expect("valid")),
        value: Some(Money::new(u64::MAX, *b"EUR").expect("valid")),
        name_fields: true,
        terms: hapax_core::Terms {
            max_hold_ms: u64::MAX,
            abandoned_ms: u64::MAX,
            retention_success_ms: u64::MAX,
            memory_ms: u64::MAX,
            ..terms()
        },
    };
    let reason = Reason::new(text(512)).expect("valid");
    let verdict = Verdict::Complete(VerdictComplete { outcome: outcome.clone(), retention_ms: u64::MAX });
    let checkpoint = Some(vec![3; length.min(4096)].into());
    let verbs = vec![
        Verb::Claim(claim),
        Verb::Renew(hapax_core::command::Renew {
            token,
            seq: u64::MAX,
            lease_ms: u64::MAX,
            checkpoint,
            mark: true,
        }),
        Verb::Complete(hapax_core::command::Complete { token, outcome, retention_ms: u64::MAX }),
        Verb::Release(hapax_core::command::Release { token, reason: Some(reason.clone()) }),
        Verb::Resolve(Resolve { token, verdict, reason: reason.clone() }),
        Verb::Resolve(Resolve { token, verdict: Verdict::Release, reason: reason.clone() }),
        Verb::Forget(Forget { token, mode: ForgetMode::Reset, force: true, reason }),
    ];
    let (tenant, operation) =
        (hapax_core::Tenant::new("t").expect("valid"), "o".repeat(length.clamp(1, 128)));
    let key = hapax_core::Key::new(vec![255; length.clamp(1, 255)]).expect("valid");
    let operation = hapax_core::Operation::new(operation).expect("valid");
    let address = hapax_core::Address::new(&tenant, &operation, &key);
    let principal = Principal::new(text(128)).expect("valid");
    let of = |verb| Command {
        format: 255,
        principal: principal.clone(),
        not_after: Some(LogTime(u64::MAX)),
        address: address.clone(),
        verb,
    };
    verbs.into_iter().map(of).collect()
}

/// Whoever fills entries trusts this bound: an entry over the bound of decoding would stop every replica that it
/// reaches, for good.
#[test]
fn no_command_takes_more_than_it_is_counted_for() {
    for length in [0, 1, 250, 251, 300, 4_096, 65_536, 256 * 1024] {
        for command in filled(length) {
            let counted = command_bytes_max(&command);
            let name = command.verb.name();
            let taken = encode_batch(&batch(u64::MAX, vec![command])).len();
            assert!(taken <= counted, "{name} of {length}: {taken} bytes, counted for {counted}");
            assert!(counted < taken + 256, "{name} of {length}: {taken} bytes, counted for {counted}");
        }
    }
}

#[test]
fn a_changed_record_has_another_content_digest() {
    let now = LogTime(450);
    let digests: std::collections::BTreeSet<_> =
        states().into_iter().map(|(_, state)| content_digest(&address(1), &record(state), now)).collect();
    assert_eq!(digests.len(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut versioned = vec![1];
        versioned.extend_from_slice(&bytes);
        if let Ok(batch) = decode_batch(&versioned) {
            prop_assert_eq!(decode_batch(&encode_batch(&batch)), Ok(batch));
        }
        prop_assert!(decode_record(b"k", &versioned).is_err());
        prop_assert!(decode_meta(&versioned, b"k").is_err());
    }

    #[test]
    fn a_batch_with_a_flipped_bit_never_panics(verb in 0usize..6, bit in 0usize..4_000) {
        let (_, command) = verbs().remove(verb);
        let mut bytes = encode_batch(&batch(1, vec![command])).to_vec();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _decoded = decode_batch(&bytes);
    }
}
