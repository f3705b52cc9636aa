//! A first run.

mod clock;
mod entropy;
mod gate;
mod host;
mod machine;
mod network;
mod random;

use hapax_client::{ClaimReply, ClaimRequest, Client, ClientConfig};
use hapax_store::log::LogConfig;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

fn main() {
    let seed: u64 = std::env::args().nth(1).map_or(1, |s| s.parse().unwrap());
    let tick: u64 = std::env::args().nth(2).map_or(1, |s| s.parse().unwrap());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .try_init();
    std::thread::spawn(move || {
        entropy::own(seed);
        let nodes = 3;
        let began = std::time::Instant::now();
        let mut sim = turmoil::Builder::new()
            .epoch(std::time::UNIX_EPOCH + Duration::from_secs(1_780_000_000))
            .rng_seed(seed)
            .tick_duration(Duration::from_millis(tick))
            .simulation_duration(Duration::from_secs(600))
            .min_message_latency(Duration::from_millis(0))
            .max_message_latency(Duration::from_millis(5))
            .tcp_capacity(1024)
            .enable_random_order()
            .build();
        let cluster = host::Cluster {
            nodes,
            shards: 4,
            timing: hapax_server::config::TimingSection::default(),
            segment_bytes: 4 << 20,
            cache_bytes_per_shard: 1 << 20,
            reserve_bytes: 0,
            policies: hapax_core::PolicyTable::default(),
        };
        let tuning = hapax_server::server::Tuning {
            log: LogConfig {
                block_bytes: 512,
                entry_bytes_max: 1 << 20,
                write_bytes_max: 256 << 10,
                rewrite_bytes_max: 64 << 10,
                ..LogConfig::default()
            },
            ..Default::default()
        };
        let mut machines = vec![];
        for i in 0..nodes {
            let name = host::node_name(i);
            let others =
                (0..nodes).filter(|j| *j != i).map(host::node_name).chain(["clients".to_owned()]).collect();
            let machine = machine::Machine::new(machine::Making {
                name: name.clone(),
                others,
                seed: seed * 100 + i as u64,
                drift_permille: 0,
                latency: gate::Latency(0, 2),
                tuning: tuning.clone(),
            });
            machines.push(machine.clone());
            let config = cluster.config(i);
            sim.host(name, move || host::run(machine.clone(), config.clone()));
        }
        let done = Rc::new(Cell::new(0u64));
        let count = done.clone();
        sim.host("clients", move || {
            let count = count.clone();
            async move {
                for c in 0..8u64 {
                    let count = count.clone();
                    tokio::task::spawn_local(async move {
                        let env = hapax_client::env::Env::new(
                            clock::ClientClock,
                            entropy::Seeded::new(seed ^ c << 32),
                            network::SimNetwork,
                        );
                        let client = loop {
                            let config = ClientConfig::new((0..3).map(host::client_addr));
                            match Client::connect_in(config, env.clone()).await {
                                Ok(c) => break c,
                                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                            }
                        };
                        for n in 0..u64::MAX {
                            let address = hapax_client::address("acme", "pay", format!("k-{c}-{n}")).unwrap();
                            let claim =
                                ClaimRequest::new(address).fingerprint(hapax_client::fingerprint::bytes(b""));
                            match client.claim(claim).await {
                                Ok(r) => {
                                    assert!(matches!(r.reply, ClaimReply::Granted(_)));
                                    count.set(count.get() + 1);
                                }
                                Err(e) => println!("{e:?}"),
                            }
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    });
                }
                std::future::pending::<()>().await;
                Ok(())
            }
        });
        let mut last = 0;
        while sim.elapsed() < Duration::from_secs(60) {
            sim.step().unwrap();
            if sim.elapsed().as_secs() / 10 > last {
                last = sim.elapsed().as_secs() / 10;
                println!("{:?} real {:?} claims {}", sim.elapsed(), began.elapsed(), done.get());
            }
        }
        for m in &machines {
            println!(
                "{:?} {:?}",
                m.end(),
                m.node().map(|n| n
                    .status()
                    .shards
                    .iter()
                    .map(|s| (s.shard, s.applied_index, s.digest[0], s.records))
                    .collect::<Vec<_>>())
            );
        }
    })
    .join()
    .unwrap();
}
