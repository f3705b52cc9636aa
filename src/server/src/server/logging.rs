//! The log of the process: to stderr, for people or for machines.

use crate::config::{LogFormat, LogSection};
use anyhow::Context as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

/// Starts to log. A process that logs already (a test) goes on as it did.
pub(super) fn start(section: &LogSection) -> anyhow::Result<()> {
    let targets: Targets = section.level.parse().context("log.level")?;
    // openraft tells every step of every group at `info`, and every late heartbeat at `warn`: what
    // matters of it is told by the consensus layer. `openraft=info` brings it back.
    let targets = match section.level.contains("openraft") {
        true => targets,
        false => targets.with_target("openraft", tracing::Level::ERROR),
    };
    let layer = match section.format {
        LogFormat::Human => fmt::layer().with_writer(std::io::stderr).with_ansi(false).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    // Somebody else's subscriber is as good.
    let _already = registry().with(layer.with_filter(targets)).try_init();
    Ok(())
}
