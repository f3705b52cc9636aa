//! Foreign bytes, half frames, wrong versions and wrong messages on every port.

use crate::{keep, kept};
use anyhow::{Context as _, Result, ensure};
use bytes::BytesMut;
use hapax_client::ErrorCode;
use hapax_tests::raw::{Raw, hello};
use hapax_tests::{Spec, TestCluster, http, program};
use hapax_wire::client::{Hello, Ping, ToClient};
use hapax_wire::{ClusterId, Message as _, Versions, limits};
use std::time::Duration;

/// A handshake may take 2 s; the rest is for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// What strangers say: other protocols, and noise.
fn foreign() -> Vec<Vec<u8>> {
    let mut noise = vec![0u8; 100_000];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in &mut noise {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[3];
    }
    vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        vec![0; 4096],
        vec![0xff; 4096],
        noise,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_every_port_are_turned_away() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(3)).await?;
    let client = cluster.client().await?;
    keep(&client, "before").await?;
    for round in 0..2 {
        for (n, bytes) in foreign().into_iter().enumerate() {
            for address in [cluster.client_addr(0), cluster.peer_addr(0), cluster.http_addr(0)] {
                let mut raw = Raw::connect(&address).await?;
                // The node may close before it has read all.
                let _closed_early = raw.send(&bytes).await;
                let closed = raw.closed(CLOSED_WITHIN).await;
                closed.with_context(|| format!("{address}, bytes {n}, round {round}"))?;
            }
        }
    }
    kept(&client, "before").await?;
    keep(&client, "after").await?;
    let (status, _) = http::get(&cluster.http_addr(0), "/healthz").await?;
    ensure!(status == 200);
    let (status, _) = http::get(&cluster.http_addr(0), "/nothing").await?;
    ensure!(status == 404, "{status}");
    cluster.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_half_is_closed_in_time() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let hello = hello()?;
    for address in [cluster.client_addr(0), cluster.peer_addr(0)] {
        for sent in [0, 1, 11, 12, hello.len() - 1] {
            let mut raw = Raw::connect(&address).await?;
            raw.send(&hello[..sent]).await?;
            raw.closed(CLOSED_WITHIN).await.with_context(|| format!("{address}, {sent} bytes of a hello"))?;
        }
    }
    // Half a frame after the handshake, and gone.
    let (mut raw, _) = Raw::greeted(&cluster.client_addr(0)).await?;
    let call = hapax_tests::raw::call(1, 1000, get())?;
    raw.send(&call[..call.len() - 1]).await?;
    drop(raw);
    keep(&cluster.client().await?, "after").await?;
    cluster.finish()
}

fn get() -> hapax_client::Ask {
    hapax_client::Ask::List(hapax_core::request::ListAsk {
        shard: 0,
        tenant: hapax_client::Tenant::new("acme").expect("it keeps the rules"),
        operation: None,
        state: None,
        after: None,
        limit: 1,
    })
}

/// Says hello and expects an error with this code, then the end.
async fn refused(address: &str, bytes: &[u8], code: ErrorCode) -> Result<()> {
    let mut raw = Raw::connect(address).await?;
    raw.send(bytes).await?;
    match raw.next().await? {
        Some(ToClient::Error(error)) => ensure!(error.refusal.code == code, "{error:?} instead of {code:?}"),
        other => anyhow::bail!("{other:?} instead of {code:?}"),
    }
    raw.closed(CLOSED_WITHIN).await?;
    Ok(())
}

fn hello_with(change: impl FnOnce(&mut Hello)) -> Result<Vec<u8>> {
    let name = "a test".to_owned();
    let mut hello = Hello { versions: Versions::SPOKEN, cluster: None, name, credentials: None };
    change(&mut hello);
    let mut out = BytesMut::new();
    hello.put(&mut out)?;
    Ok(out.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_codes() -> Result<()> {
    let cluster = TestCluster::start(program!(), Spec::nodes(1)).await?;
    let address = cluster.client_addr(0);
    let future = hello_with(|hello| hello.versions = Versions { min: 900, max: 901 })?;
    refused(&address, &future, ErrorCode::Version).await?;
    let elsewhere = hello_with(|hello| hello.cluster = Some(ClusterId([9; 16])))?;
    refused(&address, &elsewhere, ErrorCode::WrongCluster).await?;
    // Greeted, then a frame that announces more than may come; nothing behind it is read.
    let (mut raw, welcome) = Raw::greeted(&address).await?;
    ensure!(welcome.limits.frame_bytes as usize == limits::CLIENT_FRAME_BYTES);
    raw.send(&oversized()?).await?;
    match raw.next().await? {
        Some(ToClient::Error(error)) => ensure!(error.refusal.code == ErrorCode::TooLarge, "{error:?}"),
        other => anyhow::bail!("{other:?} instead of an error"),
    }
    raw.closed(CLOSED_WITHIN).await?;
    // A second hello is none of what may come now.
    let (mut raw, _) = Raw::greeted(&address).await?;
    raw.send(&hello()?).await?;
    let said = raw.next().await?;
    ensure!(matches!(said, Some(ToClient::Error(_))), "{said:?}");
    raw.closed(CLOSED_WITHIN).await?;
    keep(&cluster.client().await?, "after").await?;
    cluster.finish()
}

/// A header that is whole and right but for a body of 2 MiB: made from a real frame's.
fn oversized() -> Result<Vec<u8>> {
    let mut frame = BytesMut::new();
    Ping { nonce: 1 }.put(&mut frame)?;
    let mut header = frame[..limits::HEADER_BYTES].to_vec();
    header[..4].copy_from_slice(&(2u32 << 20).to_le_bytes());
    let check = crc32c(&header[..6]);
    header[6..8].copy_from_slice(&check.to_le_bytes()[..2]);
    Ok(header)
}

/// By its definition, bit by bit: the test must not trust the code under test.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
