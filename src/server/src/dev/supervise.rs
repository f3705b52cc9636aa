//! The node processes: started, started again, stopped.

use super::Plan;
use anyhow::{Context as _, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::task::Poll;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

/// The pause before a dead node is started again: doubled from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A node that ran for so long has started well: the next pause is the first again.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// Starts in a row that fail at once before it is given up: the reason will not go away.
const FAILED_STARTS: u32 = 6;
/// How long a node may take to stop by itself.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// All nodes of a plan, running.
pub(super) struct Cluster<'a> {
    nodes: Vec<Node>,
    say: &'a dyn Fn(&str),
}

impl<'a> Cluster<'a> {
    /// Starts every node.
    pub(super) fn start(plan: &Plan, program: PathBuf, say: &'a dyn Fn(&str)) -> anyhow::Result<Self> {
        let start = |number| Node::start(Plan::name(number), plan.node_dir(number), program.clone());
        Ok(Self { nodes: plan.numbers().map(start).collect::<Result<_, _>>()?, say })
    }

    /// Starts nodes again that die; ends only when one cannot be kept up.
    pub(super) async fn supervise(&mut self) -> anyhow::Result<()> {
        let say = self.say;
        let kept = self.nodes.iter_mut().map(|node| Box::pin(node.keep_up(say)));
        first_of(kept.collect()).await
    }

    /// Asks all nodes to stop at once, waits for them, and kills what does not stop.
    pub(super) async fn stop(&mut self) {
        for node in &mut self.nodes {
            // The end of the pipe tells the node to stop.
            node.pipe = None;
        }
        let deadline = Instant::now() + STOP_WITHIN;
        for node in &mut self.nodes {
            if tokio::time::timeout_at(deadline, node.child.wait()).await.is_err() {
                (self.say)(&format!("{} did not stop within {} s: killed", node.name, STOP_WITHIN.as_secs()));
                if let Err(error) = node.child.kill().await {
                    (self.say)(&format!("{} cannot be killed: {error}", node.name));
                }
            }
        }
    }
}

/// One node's process.
struct Node {
    name: String,
    dir: PathBuf,
    program: PathBuf,
    child: Child,
    pipe: Option<ChildStdin>,
    since: Instant,
}

impl Node {
    fn start(name: String, dir: PathBuf, program: PathBuf) -> anyhow::Result<Self> {
        let (child, pipe) = spawn(&program, &dir).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, dir, program, child, pipe, since: Instant::now() })
    }

    async fn keep_up(&mut self, say: &dyn Fn(&str)) -> anyhow::Result<()> {
        let mut pause = PAUSE.0;
        let mut failed = 0;
        loop {
            let ended = self.child.wait().await?;
            if self.since.elapsed() >= STEADY_AFTER {
                (pause, failed) = (PAUSE.0, 0);
            }
            failed += 1;
            if failed >= FAILED_STARTS {
                let log = tail(&self.dir.join("log"));
                bail!("{} died {failed} times in a row ({ended}); the end of its log:\n{log}", self.name);
            }
            say(&format!("{} ended ({ended}); starting it again", self.name));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            (self.child, self.pipe) = spawn(&self.program, &self.dir)?;
            self.since = Instant::now();
        }
    }
}

/// Starts a node in a process group of its own, so that Ctrl-C reaches this process alone, which
/// then stops its nodes in order.
fn spawn(program: &Path, dir: &Path) -> anyhow::Result<(Child, Option<ChildStdin>)> {
    let log = File::options().create(true).append(true).open(dir.join("log"))?;
    let mut command = Command::new(program);
    command.arg("server").arg("--config").arg(dir.join("config.toml")).arg("--end-with-stdin");
    for (name, _) in std::env::vars_os() {
        // One variable would set all nodes alike; only how much they log may be set so.
        if name.to_str().is_some_and(|name| name.starts_with("HAPAX_") && name != "HAPAX_LOG_LEVEL") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let pipe = child.stdin.take();
    Ok((child, pipe))
}

/// The last lines of a file, for a person.
fn tail(path: &Path) -> String {
    const LINES: usize = 10;
    let text =
        std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// What the first future that ends gives.
async fn first_of<F: Future + Unpin>(mut futures: Vec<F>) -> F::Output {
    std::future::poll_fn(|context| {
        let mut ready = futures.iter_mut().map(|future| Pin::new(future).poll(context));
        ready.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}
