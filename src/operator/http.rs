//! `/livez`, `/readyz` and `/metrics`, on every replica.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::info;

use crate::context::Ctx;
use crate::tally::Tally;

/// The loops whose first round makes a replica ready: as leader once the caches are filled, as a
/// standby once it watches the lease. An agent says the latter once it knows its duty.
pub const READY: [&str; 2] = ["stores", "lease"];

/// Answers until the process ends.
pub async fn serve(ctx: Arc<Ctx>, address: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    info!(%address, "Listening");
    let stop = ctx.stop.asked();
    axum::serve(listener, routes(ctx))
        .with_graceful_shutdown(stop)
        .await
}

fn routes(ctx: Arc<Ctx>) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(ctx)
}

async fn live(State(ctx): State<Arc<Ctx>>) -> impl IntoResponse {
    let stuck = ctx.pulse.stuck(ctx.clock.mono());
    if stuck.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("standing still: {}\n", stuck.join(" ")),
        )
    }
}

async fn ready(State(ctx): State<Arc<Ctx>>) -> impl IntoResponse {
    let leads = ctx.metrics.leader.get() == 1;
    let awaited = if leads { READY[0] } else { READY[1] };
    if ctx.pulse.has_beaten(awaited) {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for: {awaited}\n"),
        )
    }
}

async fn metrics(State(ctx): State<Arc<Ctx>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let placements = Tally::of(&ctx.stores.placements);
    (
        [(header::CONTENT_TYPE, kind)],
        ctx.metrics.text(&placements),
    )
}
