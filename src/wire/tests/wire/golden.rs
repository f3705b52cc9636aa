//! The bytes of every message are frozen: each sample's frame is held against a file.
//!
//! After a deliberate change (a new message, never a changed one) run with `UPDATE_GOLDEN=1`.

use crate::samples::{self, Sample};
use hapax_wire::client::{ToClient, ToServer};
use hapax_wire::limits::PEER_FRAME_BYTES;
use hapax_wire::peer::{PeerBody, PeerFrame};
use hapax_wire::{Decoder, kind};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The header on a line of its own, then 32 bytes a line.
fn to_hex(bytes: &[u8]) -> String {
    let (header, body) = bytes.split_at(12);
    let mut text = String::new();
    for line in std::iter::once(header).chain(body.chunks(32)) {
        for byte in line {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn every_message_has_the_bytes_that_it_always_had() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for (name, sample) in samples::all() {
        let path = folder().join(format!("{name}.hex"));
        let now = to_hex(&sample.frame());
        if update {
            std::fs::write(&path, &now).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != now {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "these differ from their golden bytes: {wrong:?}");
}

#[test]
fn every_golden_file_still_reads_as_what_it_was() {
    for (name, sample) in samples::all() {
        let text = std::fs::read_to_string(folder().join(format!("{name}.hex"))).unwrap();
        let mut decoder = Decoder::new(PEER_FRAME_BYTES);
        decoder.push(&from_hex(&text));
        let frame = decoder.poll().unwrap().unwrap();
        assert_eq!(sample.take(&frame).unwrap(), sample, "{name}");
        assert!(!decoder.is_midway(), "{name} has bytes behind its frame");
    }
}

#[test]
fn every_golden_file_belongs_to_a_sample() {
    let names: BTreeSet<String> = samples::all().into_iter().map(|(name, _)| format!("{name}.hex")).collect();
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, names);
}

#[test]
fn every_kind_of_message_has_a_sample() {
    let seen: BTreeSet<u8> = samples::all().iter().map(|(_, sample)| sample.frame()[4]).collect();
    let handshake = [kind::PEER_HELLO, kind::PEER_WELCOME];
    let known = [ToServer::KINDS, ToClient::KINDS, PeerBody::KINDS, &handshake].concat();
    let known: BTreeSet<u8> = known.into_iter().collect();
    assert_eq!(seen, known);
}

#[test]
fn a_side_refuses_what_only_the_other_side_may_receive() {
    for (name, sample) in samples::all() {
        let mut decoder = Decoder::new(PEER_FRAME_BYTES);
        decoder.push(&sample.frame());
        let frame = decoder.poll().unwrap().unwrap();
        let server = ToServer::take(&frame).is_ok();
        let client = ToClient::take(&frame).is_ok();
        let peer = PeerFrame::take(&frame).is_ok();
        let both = name == "error";
        assert_eq!(server, both || matches!(sample, Sample::ToServer(_)), "{name} to a server");
        assert_eq!(client, matches!(sample, Sample::ToClient(_)), "{name} to a client");
        assert_eq!(peer, matches!(sample, Sample::Peer(_)), "{name} to a peer");
    }
}
