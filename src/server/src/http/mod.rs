//! Metrics and health over HTTP: `/metrics`, `/healthz`, `/readyz`, and nothing else.
//!
//! Contract: it is served from the first moment of the process, so that a node that waits for
//! others says so; connections are bounded in number and in time, whatever the other side does.

mod limited;
#[cfg(test)]
mod tests;

use crate::metrics::{Families, Metrics};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hapax_raft::env::net::TcpListener;
use limited::Limited;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// What the node says of itself.
pub trait Health: Send + Sync + 'static {
    /// Nothing, or why the node is not ready to serve.
    fn not_ready(&self) -> Vec<String>;
    /// The figures that are read when somebody asks.
    fn levels(&self) -> Families;
}

/// What the port may be used for.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// How long one may last.
    pub connection: Duration,
}

/// The text format's media type.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until `stop`.
pub async fn serve<H: Health>(
    listener: TcpListener,
    limits: HttpLimits,
    metrics: Arc<Metrics>,
    health: Arc<H>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let limited = Limited::new(listener, limits, metrics.connections("http"));
    let router = Router::new()
        .route("/metrics", get(show_metrics::<H>))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(show_ready::<H>))
        .with_state(Shared { metrics, health });
    if let Err(error) = axum::serve(limited, router).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "metrics and health are not served any more");
    }
}

struct Shared<H> {
    metrics: Arc<Metrics>,
    health: Arc<H>,
}

impl<H> Clone for Shared<H> {
    fn clone(&self) -> Self {
        Self { metrics: Arc::clone(&self.metrics), health: Arc::clone(&self.health) }
    }
}

async fn show_metrics<H: Health>(State(shared): State<Shared<H>>) -> Response {
    match shared.metrics.render(shared.health.levels()) {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn show_ready<H: Health>(State(shared): State<Shared<H>>) -> Response {
    let reasons = shared.health.not_ready();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", reasons.join("\n"))).into_response()
}
