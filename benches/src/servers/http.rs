//! What a node of Hapax says over HTTP: whether it is ready, and its metrics.

use anyhow::{Context as _, Result, bail};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Asks for a path; the error is also any status but 200, with the last line of what was said.
///
/// # Errors
/// When nobody answers, or the answer is not 200.
pub async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        // In this version an answer ends with its connection.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(WITHIN, asked).await.context("no answer in time")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer of HTTP")?;
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("{}", body.lines().last().unwrap_or(head));
    }
    Ok(body.to_owned())
}

/// Metrics as they were at one moment, in Prometheus's text format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics(String);

impl Metrics {
    /// A node's.
    ///
    /// # Errors
    /// When it does not tell.
    pub async fn of(address: SocketAddr) -> Result<Self> {
        get(address, "/metrics").await.map(Self).with_context(|| format!("no metrics of {address}"))
    }

    /// The samples of a family, each with what is between its braces.
    pub fn samples<'a>(&'a self, family: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(family)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once('}')?,
                None => ("", rest),
            };
            Some((labels, value.strip_prefix(' ')?.trim().parse().ok()?))
        })
    }

    /// All samples of a family together.
    #[must_use]
    pub fn sum(&self, family: &str) -> f64 {
        self.samples(family).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn samples_are_those_of_the_family_alone() {
        let text = "# HELP hapax_a Text\n# TYPE hapax_a gauge\nhapax_a{shard=\"0\"} 1\nhapax_a{shard=\"1\"} 2.5\n\
                    hapax_ab{shard=\"0\"} 7\nhapax_b 3\n";
        let metrics = Metrics(text.to_owned());
        let samples: Vec<_> = metrics.samples("hapax_a").collect();
        assert_eq!(samples, [("shard=\"0\"", 1.0), ("shard=\"1\"", 2.5)]);
        assert_eq!((metrics.sum("hapax_a"), metrics.sum("hapax_b"), metrics.sum("hapax_c")), (3.5, 3.0, 0.0));
    }

    #[tokio::test]
    async fn an_answer_is_its_body_or_why_there_is_none() {
        for (answer, expected) in [
            ("HTTP/1.0 200 OK\r\n\r\nready\n", Ok("ready\n")),
            (
                "HTTP/1.0 503 Service Unavailable\r\n\r\nnot ready\nshard 3: no leader\n",
                Err("shard 3: no leader"),
            ),
            ("", Err("no answer of HTTP")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let served = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = [0; 64];
                let read = stream.read(&mut question).await.unwrap();
                assert!(question[..read].starts_with(b"GET /readyz HTTP/1.0\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (got, ()) = tokio::join!(get(address, "/readyz"), served);
            let got = got.map_err(|error| error.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected);
        }
    }
}
