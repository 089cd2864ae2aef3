use std::sync::Mutex;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use clap::Parser;
use domicile_api::FailoverPolicy;
use domicile_api::policy_status::FailoverPolicyStatus;
use kube::Client;
use serde_json::{Value, json};

use super::*;
use crate::run;
use crate::settings::{Command, CommandLine, Environment};

/// An API server with one object. It takes a status that presents the version that it holds, and
/// may lose the answer.
struct Store {
    version: u64,
    loses_answers: bool,
    /// The versions that were presented.
    asked: Vec<Value>,
    epoch: Value,
}

fn object(version: u64) -> Value {
    json!({
        "apiVersion": "domicile.dev/v1alpha1", "kind": "FailoverPolicy",
        "metadata": {"name": "eu", "uid": "u", "resourceVersion": version.to_string()},
        "spec": {
            "primary": {"region": "west", "server": "main"},
            "standbys": [{"region": "central", "server": "main"}],
        },
    })
}

fn failure(code: StatusCode, reason: &str) -> (StatusCode, String) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "code": code.as_u16(), "message": reason,
    });
    (code, status.to_string())
}

fn put(store: &mut Store, body: &Bytes) -> (StatusCode, String) {
    let sent: Value = serde_json::from_slice(body).unwrap();
    let presented = sent["metadata"]["resourceVersion"].clone();
    store.asked.push(presented.clone());
    let version = presented.as_str().and_then(|text| text.parse().ok());
    if version != Some(store.version) {
        return failure(StatusCode::CONFLICT, "Conflict");
    }
    store.version += 1;
    store.epoch = sent["status"]["epoch"].clone();
    if store.loses_answers {
        return failure(StatusCode::GATEWAY_TIMEOUT, "Timeout");
    }
    let mut answer = object(store.version);
    answer["status"] = sent["status"].clone();
    (StatusCode::OK, answer.to_string())
}

async fn answer(State(store): State<Arc<Mutex<Store>>>, request: Request) -> (StatusCode, String) {
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    put(&mut store.lock().unwrap(), &body)
}

fn world(version: u64, loses_answers: bool) -> (Arc<Mutex<Store>>, Arc<Ctx>) {
    // Only an earlier call could make it fail, and then a provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = Arc::new(Mutex::new(Store {
        version,
        loses_answers,
        asked: Vec::new(),
        epoch: Value::Null,
    }));
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&store));
    let Command::Run(settings) = CommandLine::parse_from(["domicile", "run"]).command else {
        panic!("run was asked for");
    };
    let settings = settings.complete(Environment::default(), 1);
    let ctx = run::context(Client::new(router, "default"), settings).0;
    (store, ctx)
}

fn read(version: u64) -> Arc<FailoverPolicy> {
    Arc::new(serde_json::from_value(object(version)).unwrap())
}

async fn write(ctx: &Ctx, read: &Arc<FailoverPolicy>, epoch: i64) -> Result<(), CasError> {
    let status = FailoverPolicyStatus {
        epoch: Some(epoch),
        ..FailoverPolicyStatus::default()
    };
    let written = write_status(ctx, &ctx.stores.policies, "test", read, status).await;
    written.map(drop)
}

/// Faults: 29.
#[tokio::test]
async fn a_status_that_somebody_changed_first_is_sent_once_and_changes_nothing() {
    let (store, ctx) = world(8, false);
    let lost = write(&ctx, &read(7), 5).await.unwrap_err();
    assert!(matches!(lost, CasError::Lost(_)), "{lost}");
    assert_eq!(lost.class(), Class::Conflict);
    assert_eq!(store.lock().unwrap().asked, ["7"]);
    assert_eq!(store.lock().unwrap().epoch, Value::Null);
    // Read again, it is taken.
    write(&ctx, &read(8), 6).await.unwrap();
    assert_eq!(store.lock().unwrap().epoch, 6);
}

/// Faults: 29, 35, 37.
#[tokio::test]
async fn a_status_whose_answer_was_lost_is_not_written_over_what_took_effect() {
    let (store, ctx) = world(7, true);
    let unknown = write(&ctx, &read(7), 5).await.unwrap_err();
    assert!(matches!(unknown, CasError::Call { .. }), "{unknown}");
    assert_eq!(unknown.class(), Class::Transient);
    assert_eq!(store.lock().unwrap().asked, ["7"], "tried again unseen");
    // Decided anew on the object as it was read before, it is refused.
    let lost = write(&ctx, &read(7), 6).await.unwrap_err();
    assert!(matches!(lost, CasError::Lost(_)), "{lost}");
    assert_eq!(store.lock().unwrap().epoch, 5);
}
