//! Real peers under a short load, where they are installed and their drivers built in.

use hapax_bench::load::Options;
use hapax_bench::load::draw::Mix;
use hapax_bench::peers::{Peer, Plan, run};
use std::time::Duration;

fn plan(peers: Vec<Peer>) -> Plan {
    Plan {
        peers,
        workers: vec![1, 12],
        rounds: 1,
        program: "/no/such/program".into(),
        dir: None,
        load: Options {
            workers: 0,
            rate: None,
            warm_up: Duration::from_millis(200),
            measured: Duration::from_millis(700),
            mix: Mix { replays: 30.0, duplicates: 20.0, skew: 0.0 },
            value_bytes: 0..=3000,
            seed: 5,
            read_back: 50,
            tell: false,
        },
    }
}

/// Claims at once, too: each peer must grant a key to one.
#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_here_answer_rightly_and_the_others_are_told() {
    let peers = vec![Peer::Redis, Peer::RedisEverySecond, Peer::Postgres, Peer::Etcd, Peer::Nats];
    let missing: Vec<_> = peers.iter().filter_map(|peer| peer.missing()).collect();
    for note in &missing {
        eprintln!("skipped: {note}");
    }
    let present = peers.len() - missing.len();
    let comparison = run(&plan(peers), |_| {}).await.expect("a directory");
    let table = comparison.table();
    assert!(comparison.failures.is_empty() && comparison.wrong.is_empty(), "{table}");
    assert_eq!(
        (comparison.notes.as_slice(), comparison.rows.len()),
        (missing.as_slice(), 2 * present),
        "{table}"
    );
    for row in &comparison.rows {
        assert!(row.errors == 0 && row.ops_per_s > 1.0, "{row}\n{table}");
        assert!(
            row.cpu_us_per_op.is_some_and(|cpu| cpu >= 0.0) && row.bytes_written_per_op.is_some(),
            "{row}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_cannot_be_run_is_a_failure_and_no_figure() {
    let comparison = run(&plan(vec![Peer::HapaxOne]), |_| {}).await.expect("a directory");
    assert!(comparison.rows.is_empty());
    let [failure] = comparison.failures.as_slice() else { panic!("{:?}", comparison.failures) };
    assert!(failure.starts_with("hapax-1, round 1: cannot run /no/such/program"), "{failure}");
}
