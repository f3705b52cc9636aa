//! Whether the nodes are ready, asked over their own HTTP ports.

use super::Plan;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Between two questions to a node that is not ready.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Returns when every node says that it is ready; each question may take `within`.
pub(super) async fn all(plan: &Plan, within: Duration) {
    for number in plan.numbers() {
        let address = plan.ports(number).http;
        while !tokio::time::timeout(within, is_ready(address)).await.unwrap_or(false) {
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    asked.await.is_ok_and(|answer| answer == *b"HTTP/1.1 200")
}
