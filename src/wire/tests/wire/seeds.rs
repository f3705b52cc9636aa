//! The seeds of the fuzz corpus: every sample, as each target takes it, and told bad inputs. What a
//! fuzzer adds lies beside them under other names.
//!
//! Written anew, like the golden bytes, with `UPDATE_GOLDEN=1`.

use crate::frames::header_of;
use crate::samples::{self, Sample};
use hapax_wire::kind;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A seed's folder and name, and its bytes.
type Seeds = BTreeMap<(&'static str, String), Vec<u8>>;

/// The form of an input that is a stream of frames.
const STREAM: u8 = 0;

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let mut streams = BTreeMap::from([
        ("client_frame", vec![STREAM]),
        ("peer_frame", vec![STREAM]),
        ("handshake", vec![STREAM]),
    ]);
    for (name, sample) in samples::all() {
        let frame = sample.frame();
        let handshake = matches!(frame[4], kind::HELLO | kind::WELCOME | kind::ERROR)
            || matches!(sample, Sample::PeerHello(_) | Sample::PeerWelcome(_));
        let target = match sample {
            _ if handshake => "handshake",
            Sample::Peer(_) => "peer_frame",
            _ => "client_frame",
        };
        let input = [&frame[4..5], &frame[12..]].concat();
        seeds.insert((target, name), input);
        streams.entry(target).or_default().extend_from_slice(&frame);
    }
    for (target, stream) in streams {
        seeds.insert((target, "stream".to_owned()), stream);
    }
    seeds.extend(bad().into_iter().map(|(target, name, input)| ((target, name.to_owned()), input)));
    seeds
}

/// Inputs without a message, each the smallest of its kind.
fn bad() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let answer = |body: &[u8]| [&[kind::ANSWER][..], &7_u64.to_le_bytes(), body].concat();
    let call = |length: u32| [&[kind::CALLS][..], &length.to_le_bytes(), &[7; 12], &[0, 99]].concat();
    let huge = [253, 255, 255, 255, 255, 255, 255, 255, 255];
    let level = [1, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let beats = [&[kind::BEATS][..], &7_u64.to_le_bytes(), &huge].concat();
    let entry =
        [&[kind::APPEND][..], &7_u64.to_le_bytes(), &[0; 8], &[0; 16], &u32::MAX.to_le_bytes()].concat();
    vec![
        ("client_frame", "bad_nested_grants", answer(&level.repeat(200))),
        ("client_frame", "bad_endless_page", answer(&[&[21][..], &huge].concat())),
        ("client_frame", "bad_unknown_verb", call(14)),
        ("client_frame", "bad_section_length", call(u32::MAX)),
        ("client_frame", "bad_http", [&[STREAM][..], b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"].concat()),
        ("client_frame", "bad_length", [&[STREAM][..], &header_of(u32::MAX, 4, 1)].concat()),
        ("peer_frame", "bad_endless_beats", beats),
        ("peer_frame", "bad_entry_length", entry),
        ("peer_frame", "bad_unknown_kind", [&[200][..], &7_u64.to_le_bytes()].concat()),
        ("handshake", "bad_form", [&[STREAM][..], &header_of(0, 1, 2)].concat()),
        ("handshake", "bad_over_limit", [&[STREAM][..], &header_of(4096, 1, 1)].concat()),
        ("handshake", "bad_long_name", [&[kind::HELLO, 1, 1, 0, 65][..], &[b'n'; 65], &[0]].concat()),
    ]
}

#[test]
fn the_corpus_holds_every_sample() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut missing = Vec::new();
    for ((target, name), input) in seeds() {
        let path = corpus.join(target).join(&name);
        if update {
            std::fs::write(&path, &input).unwrap();
        }
        if std::fs::read(&path).ok() != Some(input) {
            missing.push(format!("{target}/{name}"));
        }
    }
    assert!(missing.is_empty(), "these seeds are not what they should be: {missing:?}");
}
