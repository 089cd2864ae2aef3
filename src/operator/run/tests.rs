use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clap::Parser;
use domicile_api::meta::POLICY_FINALIZER;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::settings::{Command, CommandLine, Environment};

/// How many requests for Secrets the API server fails to answer.
const TROUBLE: usize = 6;

/// An API server with one thing that it holds back until it is told, and that notes what is
/// asked of it. Nothing can be written to it.
struct SlowServer {
    /// The last part of the path, `secrets` for any Secret.
    held_back: &'static str,
    released: watch::Sender<bool>,
    asked: Mutex<Vec<String>>,
}

impl SlowServer {
    fn count(&self, words: &[&str]) -> usize {
        let asked = self.asked.lock().unwrap();
        let all = |line: &&String| words.iter().all(|word| line.contains(word));
        asked.iter().filter(all).count()
    }

    fn writes(&self) -> Vec<String> {
        let mut lines = self.asked.lock().unwrap().clone();
        lines.retain(|line| !line.starts_with("GET "));
        lines
    }

    async fn wait_for(&self, words: &[&str]) {
        let clock = Clock::default();
        let seen = async {
            while self.count(words) == 0 {
                clock.sleep(Duration::from_millis(5)).await;
            }
        };
        let within = clock.within(Duration::from_secs(20), seen).await;
        assert!(
            within.is_ok(),
            "{words:?} was never asked for: {:?}",
            self.asked.lock()
        );
    }
}

async fn answer(State(server): State<Arc<SlowServer>>, request: Request) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let line = format!("{method} {path} {query}");
    server.asked.lock().unwrap().push(line);
    let plural = path.rsplit('/').next().unwrap_or_default();
    let watching = query.contains("watch=true");
    let kind = if path.contains("/secrets/") {
        "secrets"
    } else {
        plural
    };
    if method == "GET" && kind == server.held_back && !watching {
        let mut released = server.released.subscribe();
        let _ = released.wait_for(|released| *released).await;
    }
    if kind == "secrets" {
        // An API server in trouble first: the probe has not begun.
        let (code, reason) = match server.count(&["/secrets/"]) {
            ..=TROUBLE => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            _later => (StatusCode::NOT_FOUND, "NotFound"),
        };
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
            "reason": reason, "message": reason,
        });
        return (code, status.to_string()).into_response();
    }
    if method != "GET" || !path.starts_with("/apis/domicile.dev/v1alpha1/") {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if watching {
        let silent = stream::pending::<Result<Vec<u8>, std::convert::Infallible>>();
        return Body::from_stream(silent).into_response();
    }
    list(plural).to_string().into_response()
}

fn list(plural: &str) -> Value {
    let object = |kind: &str, name: &str, spec: Value, status: Value| {
        json!({
            "apiVersion": "domicile.dev/v1alpha1", "kind": kind, "spec": spec, "status": status,
            "metadata": {
                "name": name, "uid": name, "resourceVersion": "7", "generation": 1,
                "finalizers": [POLICY_FINALIZER],
            },
        })
    };
    let region = |name: &str| {
        let server = json!({
            "name": "main", "host": "127.0.0.1", "port": 1,
            "tls": {"caSecretRef": {"name": "ca"}}, "adminSecretRef": {"name": "admin"},
        });
        let spec = json!({"key": "K", "jurisdiction": "EU", "databaseServers": [server]});
        object("Region", name, spec, Value::Null)
    };
    let items = match plural {
        "regions" => vec![region("west"), region("central")],
        "failoverpolicies" => vec![object(
            "FailoverPolicy",
            "eu",
            json!({
                "primary": {"region": "west", "server": "main"},
                "standbys": [{"region": "central", "server": "main"}],
            }),
            json!({
                "state": "Steady", "since": "2026-01-01T03:00:00Z", "epoch": 7,
                "homeRegion": "west", "activeRegion": "west",
            }),
        )],
        "failoveroperations" => vec![object(
            "FailoverOperation",
            "eu-8",
            json!({
                "policyRef": {"name": "eu"}, "type": "Switchover", "target": "central",
                "expectedEpoch": 7,
            }),
            Value::Null,
        )],
        _none => Vec::new(),
    };
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "List",
        "metadata": {"resourceVersion": "7"}, "items": items,
    })
}

/// A new leader of a world in which a switchover waits.
fn leader(held_back: &'static str) -> (Arc<SlowServer>, Arc<Ctx>, JoinSet<Loop>) {
    // Only an earlier call could make it fail, and then a provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Arc::new(SlowServer {
        held_back,
        released: watch::Sender::new(false),
        asked: Mutex::default(),
    });
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&server));
    let Command::Run(settings) = CommandLine::parse_from(["domicile", "run"]).command else {
        panic!("run was asked for");
    };
    let settings = settings.complete(Environment::default(), 1);
    let (ctx, ends) = context(Client::new(router, "default"), settings);
    let mut loops = JoinSet::new();
    lead(&ctx, ends, &mut loops);
    (server, ctx, loops)
}

const LISTS: [&str; 4] = [
    "regions",
    "tenantplacements",
    "failoverpolicies",
    "failoveroperations",
];

/// Faults: 33.
#[tokio::test]
async fn nothing_is_judged_while_a_cache_is_not_filled() {
    for held_back in LISTS {
        let (server, ctx, _loops) = leader(held_back);
        for other in LISTS.into_iter().filter(|other| *other != held_back) {
            server.wait_for(&[other, "watch=true"]).await;
        }
        ctx.clock.sleep(Duration::from_millis(300)).await;
        assert_eq!(server.writes(), Vec::<String>::new(), "{held_back}");
        server.released.send_replace(true);
        server.wait_for(&["PUT", "/status"]).await;
    }
}

/// Faults: 35.
#[tokio::test]
async fn no_operation_is_judged_before_each_server_was_probed() {
    let (server, ctx, _loops) = leader("secrets");
    server.wait_for(&["GET", "/secrets/"]).await;
    ctx.clock.sleep(Duration::from_millis(300)).await;
    assert_eq!(server.count(&["PUT", "/failover"]), 0);
    server.released.send_replace(true);
    server
        .wait_for(&["PUT", "/failoverpolicies/eu/status"])
        .await;
    assert!(server.count(&["/secrets/"]) > TROUBLE, "judged on silence");
}
