//! What an operator writes: the file, the environment, the flags.
//!
//! Input: the file, then variables (`NAME=value`) and flags (`path=value`), a zero byte between them. Every error
//! names a field, or a line of the file. A configuration that is taken can be printed, and what was printed says
//! the same.

use crate::seen::Seen;
use hapax_server::config::{Config, ConfigError, Flag, Layers, load_text};

/// What files are made of.
pub(super) const WORDS: &[&str] = &[
    "[node]\n",
    "[cluster]\n",
    "[[cluster.nodes]]\n",
    "[storage]\n",
    "[timing]\n",
    "[limits]\n",
    "[http]\n",
    "[log]\n",
    "[anomaly]\n",
    "[policies]\n",
    "[policies.default]\n",
    "[[policies.rules]]\n",
    "name = ",
    "data_dir = ",
    "id = ",
    "shards = ",
    "replication = ",
    "peer = ",
    "client = ",
    "zone = ",
    "client_listen = ",
    "peer_listen = ",
    "engine = ",
    "\"fjall\"",
    "\"sled\"",
    "segment_bytes = ",
    "heartbeat_ms = ",
    "election_min_ms = ",
    "election_max_ms = ",
    "tenant = ",
    "operation = ",
    "lease_ms = ",
    "lease_max_ms = ",
    "max_hold_ms = ",
    "memory_ms = ",
    "retention_success_ms = ",
    "on_lapse = ",
    "\"always_in_doubt\"",
    "mode = ",
    "\"observe\"",
    "fingerprint = ",
    "max_result_bytes = ",
    "level = ",
    "\"info,hapax=debug\"",
    "threshold = ",
    "nan",
    "inf",
    "-1",
    "0",
    "1",
    "18446744073709551615",
    "9223372036854775807",
    "1e308",
    "true",
    "\"[::]:7401\"",
    "\"127.0.0.1:0\"",
    "\"\"",
    "\n",
    "HAPAX_CLUSTER_SHARDS=",
    "HAPAX_NODE_NAME=",
    "cluster.shards=",
    "anomaly.threshold=",
];

/// The documented example, a small file, and one with variables and flags.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let example = include_str!("../../../../deploy/three-node/node-1.toml");
    let small = "[node]\nname = \"a\"\ndata_dir = \"/d\"\n[cluster]\nid = \"00112233445566778899aabbccddeeff\"\n\
        [[cluster.nodes]]\nname = \"a\"\npeer = \"h:1\"\nclient = \"h:2\"\n\
        [[policies.rules]]\ntenant = \"acme\"\noperation = \"pay\"\nlease_ms = 2000\n";
    let layered = format!("{small}\0HAPAX_CLUSTER_SHARDS=8\0anomaly.threshold=3.5\0log.level=info");
    vec![example.into(), small.into(), layered.into()]
}

/// Runs the target.
pub(super) fn config(input: &[u8], seen: &mut Seen) -> usize {
    let mut parts = input.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let text = parts.next().unwrap_or_default();
    let mut layers = Layers::default();
    for (name, value) in
        parts.filter_map(|part| part.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())))
    {
        if name.starts_with("HAPAX_") {
            layers.environment.push((name, value));
        } else if !name.is_empty() {
            layers.flags.push(Flag { name: format!("--set {name}"), path: name, value });
        }
    }
    match load_text(&text, &layers) {
        Ok(config) => {
            taken(&config, seen);
            1
        }
        Err(error) => {
            refused(&error, seen);
            0
        }
    }
}

fn taken(config: &Config, seen: &mut Seen) {
    seen.shape(config);
    assert_ne!(config.cluster_id(), [0; 16]);
    let printed = config.to_toml();
    let again = load_text(&printed, &Layers::default());
    assert_eq!(again.expect("what is printed can be read").to_toml(), printed);
}

fn refused(error: &ConfigError, seen: &mut Seen) {
    match error {
        ConfigError::Fields(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            for error in errors {
                let what = error.why.split(' ').next();
                // A field that is not known has a name of the input's own.
                let known =
                    (!matches!(what, Some("unknown" | "no"))).then_some(error.field.split('[').next());
                seen.note((known, what));
                assert!(
                    !error.field.is_empty() && !error.why.is_empty(),
                    "an error names no field: {error:?}"
                );
            }
        }
        ConfigError::Syntax { text, .. } => {
            let message = text.lines().last().unwrap_or_default();
            seen.note(("syntax", message.split(' ').next()));
            assert!(text.contains("line"), "a syntax error names no line: {text}");
        }
        ConfigError::Read { .. } => panic!("no file was read"),
    }
}
