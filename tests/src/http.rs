//! One HTTP request, by hand: the server's side is what is tested.

use anyhow::{Context as _, Result};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one request may take.
const WITHIN: Duration = Duration::from_secs(5);

/// The status and the body that `GET path` gives.
///
/// # Errors
/// When the node does not answer in time, or not with HTTP.
pub async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    timeout(WITHIN, ask(address, path)).await.context("no answer in time")?
}

async fn ask(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("not HTTP")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// The sum of all series of a metric whose labels contain each of `labels`.
#[must_use]
pub fn metric(text: &str, name: &str, labels: &[&str]) -> f64 {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let (found, value) = rest.rsplit_once(' ')?;
        let named = found.is_empty() || found.starts_with('{');
        (named && labels.iter().all(|label| found.contains(label))).then(|| value.parse::<f64>().ok())?
    };
    text.lines().filter_map(of).sum()
}
