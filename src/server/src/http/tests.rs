use super::*;
use crate::metrics::Kind;
use parking_lot::Mutex;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

#[derive(Default)]
struct Fake {
    reasons: Mutex<Vec<String>>,
}

impl Health for Fake {
    fn not_ready(&self) -> Vec<String> {
        self.reasons.lock().clone()
    }

    fn levels(&self) -> Families {
        let mut levels = Families::new();
        levels.single(Kind::Gauge, "hapax_waiters", "Callers held", 7.0);
        levels
    }
}

struct Rig {
    addr: SocketAddr,
    health: Arc<Fake>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

async fn rig(limits: HttpLimits) -> Rig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let health = Arc::new(Fake::default());
    let (stop, stopped) = oneshot::channel();
    let metrics = Arc::new(Metrics::new("test").unwrap());
    let served = tokio::spawn(serve(listener, limits, metrics, Arc::clone(&health), async {
        let _gone = stopped.await;
    }));
    Rig { addr, health, stop, served }
}

fn limits() -> HttpLimits {
    HttpLimits { connections: 4, connection: Duration::from_secs(10) }
}

/// Sends bytes and reads until the other side closes.
async fn exchange(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    let _reset = read.expect("the other side closes in time");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask(addr: SocketAddr, line: &str) -> String {
    exchange(addr, format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn each_path_and_nothing_else() {
    let rig = rig(limits()).await;
    let metrics = ask(rig.addr, "GET /metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(metrics.contains("version=0.0.4") && metrics.contains("\nhapax_waiters 7\n"), "{metrics}");
    assert!(ask(rig.addr, "GET /healthz").await.ends_with("\r\n\r\nok\n"));
    assert!(ask(rig.addr, "GET /").await.starts_with("HTTP/1.1 404"));
    assert!(ask(rig.addr, "GET /metrics/x").await.starts_with("HTTP/1.1 404"));
    assert!(ask(rig.addr, "POST /metrics").await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn readiness_tells_every_reason() {
    let rig = rig(limits()).await;
    assert!(ask(rig.addr, "GET /readyz").await.starts_with("HTTP/1.1 200"));
    *rig.health.reasons.lock() = vec!["shard 3: no leader".to_owned(), "shard 4: starting".to_owned()];
    let answer = ask(rig.addr, "GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("not ready\nshard 3: no leader\nshard 4: starting\n"), "{answer}");
}

#[tokio::test]
async fn garbage_and_slow_senders_are_let_go_and_others_served() {
    let rig = rig(HttpLimits { connections: 2, connection: Duration::from_millis(300) }).await;
    let garbage = exchange(rig.addr, b"\x16\x03\x01\x02\x00\x01 hapax\r\n\r\n").await;
    assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    // Both places are taken by senders that never finish; they lose them when their time is over.
    let slow = || exchange(rig.addr, b"GET /met");
    let (first, second, third) = tokio::join!(slow(), slow(), ask(rig.addr, "GET /healthz"));
    assert!(!first.contains("200") && !second.contains("200"), "{first} {second}");
    assert!(third.starts_with("HTTP/1.1 200"), "{third}");
}

#[tokio::test]
async fn it_stops_when_told() {
    let rig = rig(limits()).await;
    ask(rig.addr, "GET /healthz").await;
    rig.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), rig.served).await.expect("it stops").unwrap();
}
