//! The examples hold what they show, run as processes against a node that applies the protocol.

use crate::model::Model;
use crate::world::{Act, World};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use tokio::process::Command;

/// Where cargo puts this crate's examples, beside the directory of this test.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process has a path");
    let profile = test.parent().and_then(std::path::Path::parent).expect("target/profile/deps/test");
    profile.join("examples").join(name)
}

async fn run(name: &str) -> Output {
    let mut model = Model::new();
    let world = World::over_tcp(2, 8, move |seen| Act::Reply(model.apply(&seen.request))).await;
    let cluster = format!("{},{}", world.addr(0), world.addr(1));
    let example = built(name);
    let mut command = Command::new(&example);
    command.env("HAPAX_CLUSTER", cluster).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await;
    output.unwrap_or_else(|error| {
        unreachable!("{} cannot be run ({error}): cargo build --examples makes it", example.display())
    })
}

async fn holds(name: &str) {
    let output = run(name).await;
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} failed ({}; if it is older than this crate: cargo build --examples):\n{said}{told}",
        output.status
    );
    assert!(said.matches("  ok: ").count() >= 2, "{name} checked nothing:\n{said}");
}

#[tokio::test]
async fn payment_service_holds() {
    holds("payment_service").await;
}

#[tokio::test]
async fn order_service_holds() {
    holds("order_service").await;
}

#[tokio::test]
async fn message_consumer_holds() {
    holds("message_consumer").await;
}

#[tokio::test]
async fn long_operation_holds() {
    holds("long_operation").await;
}

#[tokio::test]
async fn inventory_update_holds() {
    holds("inventory_update").await;
}
