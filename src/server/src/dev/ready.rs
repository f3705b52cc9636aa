//! Whether the nodes are ready, asked over their own HTTP ports.

use super::Plan;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Between two questions to a node that is not ready.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// The most that is read of an answer.
const ANSWER_BYTES: u64 = 16 * 1024;

/// Returns when every node says that it is ready; each question may take `within`. `waits` is told
/// for whom, and why.
pub(super) async fn all(plan: &Plan, within: Duration, waits: &dyn Fn(String)) {
    for number in plan.numbers() {
        let address = plan.ports(number).http;
        loop {
            let answer = tokio::time::timeout(within, ask(address)).await;
            match answer.unwrap_or_else(|_| Err("it does not answer".to_owned())) {
                Ok(()) => break,
                Err(why) => waits(format!("{}: {why}", Plan::name(number))),
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

/// Asks one node; the error is why it is not ready, as it says itself.
async fn ask(address: SocketAddr) -> Result<(), String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = asked.await.map_err(|error| error.to_string())?;
    if answer.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    // The first line says that it is not ready, the others why.
    let text = String::from_utf8_lossy(&answer);
    Err(text.lines().last().unwrap_or("it gives no reason").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A node that answers so, once.
    async fn answering(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 64];
            let read = stream.read(&mut question).await.unwrap();
            assert!(question[..read].starts_with(b"GET /readyz "));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (answered, ()) = tokio::join!(ask(address), served);
        answered
    }

    #[tokio::test]
    async fn a_node_is_ready_only_when_it_says_so() {
        assert_eq!(answering("HTTP/1.1 200 OK\r\n\r\nready\n").await, Ok(()));
        let refused =
            answering("HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready\nshard 3: no leader\n").await;
        assert_eq!(refused, Err("shard 3: no leader".to_owned()));
        assert!(answering("").await.is_err());
    }
}
