use super::*;
use std::io::Write as _;

const FILE: &str = r#"
[node]
name = "node-1"
data_dir = "/var/lib/hapax"

[cluster]
id = "00112233445566778899aabbccddeeff"

[[cluster.nodes]]
name = "node-1"
peer = "10.0.0.1:7411"
client = "10.0.0.1:7401"

[[cluster.nodes]]
name = "node-2"
peer = "10.0.0.2:7411"
client = "10.0.0.2:7401"
zone = "b"

[[cluster.nodes]]
name = "node-3"
peer = "node-3.example:7411"
client = "[fd00::3]:7401"

[[policies.rules]]
tenant = "acme"
operation = "payments.charge"
on_lapse = "always_in_doubt"
"#;

fn flag(path: &str, value: &str) -> Flag {
    Flag { name: format!("--set {path}"), path: path.to_owned(), value: value.to_owned() }
}

fn load_text(text: &str, environment: &[(&str, &str)], flags: Vec<Flag>) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load(&Layers {
        file: Some(file.path().to_owned()),
        environment: environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        flags,
    })
}

/// The fields at fault when `path` is set to `value`.
fn faults(path: &str, value: &str) -> Vec<String> {
    fields(load_text(FILE, &[], vec![flag(path, value)]))
}

fn fields(loaded: Result<Config, ConfigError>) -> Vec<String> {
    match loaded.expect_err("the configuration is refused") {
        ConfigError::Fields(errors) => errors.into_iter().map(|error| error.field).collect(),
        error => panic!("not a field: {error}"),
    }
}

#[test]
fn a_small_file_is_filled_with_defaults() {
    let config = load_text(FILE, &[], vec![]).unwrap();
    assert_eq!(config.replication(), 3);
    assert_eq!(config.cluster.shards, 3, "as many as nodes");
    assert_eq!(config.storage.engine, Engine::Fjall);
    assert_eq!(config.node.client_listen, "127.0.0.1:7401");
    assert_eq!(config.cluster_id()[..2], [0x00, 0x11]);
    assert_eq!(config.cluster.nodes[1].zone, "b");
    assert_eq!(config.policies.rules[0].policy.on_lapse, hapax_core::OnLapse::AlwaysInDoubt);
    assert_eq!(config.policies.rules[0].policy.lease_ms, 30_000);
}

#[test]
fn a_later_layer_wins() {
    let text = FILE.replace("[cluster]", "[cluster]\nshards = 4");
    assert_eq!(load_text(&text, &[], vec![]).unwrap().cluster.shards, 4);
    let environment =
        [("HAPAX_CLUSTER_SHARDS", "8"), ("HAPAX_LOG_FORMAT", "json"), ("HAPAX_PORT", "tcp://x")];
    let config = load_text(&text, &environment, vec![]).unwrap();
    assert_eq!((config.cluster.shards, config.log.format), (8, LogFormat::Json));
    let config = load_text(&text, &environment, vec![flag("cluster.shards", "32")]).unwrap();
    assert_eq!((config.cluster.shards, config.log.format), (32, LogFormat::Json));
}

#[test]
fn an_override_may_be_the_only_source() {
    let text = FILE.replace("data_dir = \"/var/lib/hapax\"", "");
    assert_eq!(fields(load_text(&text, &[], vec![])), ["node.data_dir"]);
    let config = load_text(&text, &[("HAPAX_NODE_DATA_DIR", "/tmp/x")], vec![]).unwrap();
    assert_eq!(config.node.data_dir.to_str(), Some("/tmp/x"));
}

#[test]
fn what_is_dumped_can_be_fed_back() {
    let flags = vec![flag("storage.engine", "sled"), flag("anomaly.threshold", "5.5")];
    let config = load_text(FILE, &[("HAPAX_POLICIES_DEFAULT_LEASE_MS", "45000")], flags).unwrap();
    assert_eq!(config.policies.default.lease_ms, 45_000);
    let again = load_text(&config.to_toml(), &[], vec![]).unwrap();
    assert_eq!(again, config);
}

#[test]
fn each_variable_is_named_after_its_field() {
    let variables = Config::variables();
    for name in ["HAPAX_NODE_NAME", "HAPAX_CLUSTER_REPLICATION", "HAPAX_HTTP_LISTEN", "HAPAX_LOG_LEVEL"] {
        assert!(variables.iter().any(|variable| variable == name), "{name} is missing in {variables:?}");
    }
    let distinct: std::collections::HashSet<_> = variables.iter().collect();
    assert_eq!(distinct.len(), variables.len(), "two fields share a variable");
}

#[test]
fn unknown_fields_are_named() {
    assert_eq!(fields(load_text(&format!("colour = 1\n{FILE}"), &[], vec![])), ["colour"]);
    let text = FILE.replace("name = \"node-2\"", "name = \"node-2\"\nrack = \"r\"");
    assert_eq!(fields(load_text(&text, &[], vec![])), ["cluster.nodes.rack"]);
    let text = FILE.replace("on_lapse =", "on_laps =");
    let found = fields(load_text(&text, &[], vec![]));
    assert!(found[0].starts_with("policies.rules") && found[0].ends_with("on_laps"), "{found:?}");
    assert_eq!(faults("node.colour", "1"), ["node.colour"]);
    assert_eq!(faults("node", "1"), ["node"]);
    assert_eq!(fields(load_text(&format!("\"\" = 1\n{FILE}"), &[], vec![])), ["\"\""]);
    assert_eq!(faults("", "1"), ["\"\""]);
}

#[test]
fn wrong_types_are_named() {
    assert_eq!(faults("cluster.shards", "many"), ["cluster.shards"]);
    assert_eq!(faults("storage.engine", "lmdb"), ["storage.engine"]);
    assert_eq!(faults("timing.heartbeat_ms", "-1"), ["timing.heartbeat_ms"]);
    assert_eq!(
        fields(load_text(FILE, &[("HAPAX_LIMITS_CONNECTIONS", "1.5")], vec![])),
        ["limits.connections"]
    );
    let text = FILE.replace("name = \"node-1\"\ndata", "name = 1\ndata");
    assert_eq!(fields(load_text(&text, &[], vec![])), ["node.name"]);
}

#[test]
fn each_rule_names_its_field() {
    for (path, value) in [
        ("node.name", "node-9"),
        ("node.data_dir", ""),
        ("node.client_listen", "localhost"),
        ("node.peer_listen", "127.0.0.1:7401"),
        ("http.listen", "7421"),
        ("log.level", "a=b=c"),
        ("cluster.id", "0011"),
        ("cluster.id", "00000000000000000000000000000000"),
        ("cluster.shards", "0"),
        ("cluster.shards", "1025"),
        ("cluster.replication", "2"),
        ("cluster.replication", "5"),
        ("timing.heartbeat_ms", "1"),
        ("timing.election_min_ms", "100"),
        ("timing.election_max_ms", "500"),
        ("timing.shutdown_ms", "600001"),
        ("storage.segment_bytes", "1048576"),
        ("storage.segment_bytes", "67108865"),
        ("node.threads", "0"),
        ("node.threads", "1025"),
        ("limits.connections", "0"),
        ("limits.calls_per_connection", "0"),
        ("limits.reply_bytes_per_connection", "1024"),
        ("limits.queue_calls_per_shard", "0"),
        ("http.connections", "0"),
        ("http.connection_ms", "0"),
        ("anomaly.bucket_ms", "1"),
        ("anomaly.history_buckets", "1"),
        ("anomaly.threshold", "nan"),
        ("policies.default.lease_ms", "10"),
        ("policies.default.max_hold_ms", "10"),
        ("policies.default.retention_error_ms", "1"),
        ("policies.default.max_result_bytes", "262145"),
    ] {
        assert_eq!(faults(path, value), [path], "{path} = {value}");
    }
}

#[test]
fn rules_of_lists_name_the_element() {
    let text = FILE.replace("10.0.0.2:7411", "10.0.0.1:7411");
    assert_eq!(fields(load_text(&text, &[], vec![])), ["cluster.nodes[1].peer"]);
    let text = FILE.replace("\"node-2\"", "\"node-3\"");
    assert_eq!(fields(load_text(&text, &[], vec![])), ["cluster.nodes[2].name"]);
    let text = FILE.replace("node-3.example:7411", "node-3.example");
    assert_eq!(fields(load_text(&text, &[], vec![])), ["cluster.nodes[2].peer"]);
    let text = FILE.replace("tenant = \"acme\"", "tenant = \"ACME\"");
    assert_eq!(fields(load_text(&text, &[], vec![])), ["policies.rules[0].tenant"]);
    let twice = "\n[[policies.rules]]\ntenant = \"acme\"\noperation = \"payments.charge\"\n";
    assert_eq!(fields(load_text(&format!("{FILE}{twice}"), &[], vec![])), ["policies.rules[1].tenant"]);
    let text = FILE.replace("on_lapse", "lease_ms = 1\non_lapse");
    assert_eq!(fields(load_text(&text, &[], vec![])), ["policies.rules[0].lease_ms"]);
}

#[test]
fn all_broken_rules_are_told_at_once() {
    let flags = vec![flag("cluster.shards", "0"), flag("timing.heartbeat_ms", "1")];
    assert_eq!(fields(load_text(FILE, &[], flags)), ["cluster.shards", "timing.heartbeat_ms"]);
}

#[test]
fn bad_files_are_told_apart() {
    let error = load_text("[node\n", &[], vec![]).unwrap_err();
    assert!(matches!(&error, ConfigError::Syntax { .. }), "{error}");
    assert!(error.to_string().contains("line 1"), "{error}");
    let missing = Layers { file: Some("/nonexistent/hapax.toml".into()), ..Layers::default() };
    assert!(matches!(load(&missing).unwrap_err(), ConfigError::Read { .. }));
    assert_eq!(fields(load(&Layers::default())), ["node"]);
}
