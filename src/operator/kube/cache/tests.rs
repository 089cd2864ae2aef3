use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::stream;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::clock::Clock;

fn object(uid: &str, version: &str) -> Arc<ConfigMap> {
    named("a", uid, version)
}

fn named(name: &str, uid: &str, version: &str) -> Arc<ConfigMap> {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object.metadata.uid = Some(uid.to_owned());
    object.metadata.resource_version = Some(version.to_owned());
    Arc::new(object)
}

fn version(object: &Arc<ConfigMap>) -> Option<&str> {
    object.metadata.resource_version.as_deref()
}

/// Faults: 30.
#[test]
fn our_own_write_is_seen_before_the_watch_shows_it() {
    let (cache, mut writer) = Cache::<ConfigMap>::new();
    let seen = object("u", "9");
    writer.apply_watcher_event(&watcher::Event::Apply(Seen::Valid(Arc::clone(&seen))));
    cache.wrote(object("u", "10"));
    assert_eq!(version(&cache.freshest(&seen)), Some("10"));
    assert_eq!(cache.get("a").as_ref().and_then(version), Some("10"));
    assert_eq!(version(&cache.freshest(&object("u", "11"))), Some("11"));
    assert_eq!(version(&cache.freshest(&seen)), Some("10"));
}

/// Faults: 30.
#[test]
fn who_read_before_the_watch_showed_our_write_is_not_led_back_behind_it() {
    let (cache, mut writer) = Cache::<ConfigMap>::new();
    let mut show = |version: &str| {
        let shown = object("u", version);
        writer.apply_watcher_event(&watcher::Event::Apply(Seen::Valid(Arc::clone(&shown))));
        shown
    };
    let before = show("9");
    cache.wrote(object("u", "10"));
    // Another reader sees our write by the watch; it need not be remembered any more.
    let shown = show("10");
    assert_eq!(version(&cache.freshest(&shown)), Some("10"));
    assert!(cache.written.lock().unwrap().is_empty());
    assert_eq!(version(&cache.freshest(&before)), Some("10"));
}

/// Faults: 30.
#[test]
fn all_are_sorted_and_as_new_as_each_by_itself() {
    let (cache, mut writer) = Cache::<ConfigMap>::new();
    for name in ["c", "a", "b"] {
        let shown = Seen::Valid(named(name, name, "9"));
        writer.apply_watcher_event(&watcher::Event::Apply(shown));
    }
    cache.wrote(named("b", "b", "10"));
    cache.wrote(named("c", "c", "8"));
    cache.wrote(named("d", "d", "1"));
    let all = cache.all();
    let told = all
        .iter()
        .map(|one| (one.metadata.name.as_deref(), version(one)));
    let wanted = [("a", "9"), ("b", "10"), ("c", "9")].map(|(n, v)| (Some(n), Some(v)));
    assert_eq!(told.collect::<Vec<_>>(), wanted);
    // What the watch shows need not be remembered any more.
    let left = cache.written.lock().unwrap();
    let left: Vec<&str> = left.keys().map(|key| &*key.name).collect();
    assert_eq!(left, ["b", "d"]);
}

/// Faults: 34.
#[test]
fn a_recreated_object_is_never_hidden_by_a_write_to_the_one_before() {
    let (cache, _writer) = Cache::<ConfigMap>::new();
    cache.wrote(object("old", "10"));
    assert_eq!(version(&cache.freshest(&object("new", "5"))), Some("5"));
}

/// What a list shows: `a` and `b`, then another `a` and `c`.
fn list(number: usize) -> String {
    let items = match number {
        0 => [named("a", "first", "5"), named("b", "b", "6")],
        _later => [named("a", "second", "8"), named("c", "c", "9")],
    };
    let items = items.map(|item| ConfigMap::clone(&item));
    json!({
        "apiVersion": "v1", "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "9"}, "items": items,
    })
    .to_string()
}

/// The first watch is told that its place is gone; every other one is silent.
async fn answer(State(lists): State<Arc<Mutex<usize>>>, request: Request) -> Response {
    let mut lists = lists.lock().unwrap();
    let watching = request
        .uri()
        .query()
        .unwrap_or_default()
        .contains("watch=true");
    if !watching {
        *lists += 1;
        return list(*lists - 1).into_response();
    }
    let gone = json!({"type": "ERROR", "object": {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired",
        "code": 410, "message": "too old resource version",
    }});
    let told = (*lists == 1).then(|| Ok::<_, std::convert::Infallible>(format!("{gone}\n")));
    let silent = stream::pending();
    Body::from_stream(stream::iter(told).chain(silent)).into_response()
}

/// The deletion of `b`, and that of `a` before it was made again, are never told.
///
/// Faults: 31, 34.
#[tokio::test]
async fn a_watch_whose_place_is_gone_lists_anew_and_forgets_what_went_meanwhile() {
    let lists = Arc::new(Mutex::new(0));
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&lists));
    let (cache, writer) = Cache::<ConfigMap>::new();
    // As this process wrote it: newer than anything of the second `a`, and of the first one.
    cache.wrote(named("a", "first", "70"));
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&told);
    let changed = move |key: &Key, seen: &Seen<ConfigMap>, _gone: bool| {
        let uid = seen.meta().uid.clone().unwrap_or_default();
        notes.lock().unwrap().push(format!("{} {uid}", key.name));
    };
    let mut following = JoinSet::new();
    let client = Client::new(router, "default");
    following.spawn(follow(client, cache.clone(), writer, changed));
    let clock = Clock::default();
    let seen = async {
        while cache.get("c").is_none() {
            clock.sleep(Duration::from_millis(5)).await;
        }
    };
    let within = clock.within(Duration::from_secs(20), seen).await;
    assert!(within.is_ok(), "{} lists, {told:?}", lists.lock().unwrap());
    let uid = |name| {
        cache
            .get(name)
            .and_then(|object| object.metadata.uid.clone())
    };
    assert_eq!(uid("a").as_deref(), Some("second"));
    assert_eq!(uid("b"), None, "what was deleted meanwhile is believed in");
    let mut told = told.lock().unwrap().clone();
    told.sort();
    assert_eq!(told, ["a first", "a second", "b b", "c c"]);
    assert_eq!(*lists.lock().unwrap(), 2, "listed more often than needed");
}

/// Lists nothing. Its first watch never says anything, and each later one tells of one object.
async fn silent(State(watches): State<Arc<Mutex<usize>>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if !query.contains("watch=true") {
        let none = json!({
            "apiVersion": "v1", "kind": "ConfigMapList",
            "metadata": {"resourceVersion": "9"}, "items": [],
        });
        return none.to_string().into_response();
    }
    let mut watches = watches.lock().unwrap();
    *watches += 1;
    let mut added = json!({"type": "ADDED", "object": *named("a", "u", "10")});
    added["object"]["apiVersion"] = "v1".into();
    added["object"]["kind"] = "ConfigMap".into();
    let told = (*watches > 1).then(|| Ok::<_, std::convert::Infallible>(format!("{added}\n")));
    let stays = stream::iter(told).chain(stream::pending());
    Body::from_stream(stays).into_response()
}

/// Nobody ends such a connection: only its silence tells.
///
/// Faults: 32.
#[tokio::test]
async fn a_watch_that_falls_silent_is_made_anew() {
    let watches = Arc::new(Mutex::new(0));
    let router = Router::new()
        .fallback(silent)
        .with_state(Arc::clone(&watches));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    // Only an earlier call could make it fail, and then a provider is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = kube::Config::new(url.parse().unwrap());
    let silence = Duration::from_secs(1);
    let client = crate::kube::client::patient(config, silence).unwrap();
    let (cache, writer) = Cache::<ConfigMap>::new();
    let followed = cache.clone();
    tasks.spawn(async move { follow(client, followed, writer, |_, _, _| {}).await });
    let clock = Clock::default();
    let began = clock.mono();
    let seen = async {
        while cache.get("a").is_none() {
            clock.sleep(Duration::from_millis(5)).await;
        }
    };
    let within = clock.within(Duration::from_secs(20), seen).await;
    assert!(within.is_ok(), "{} watches", watches.lock().unwrap());
    let passed = clock.mono().since(began);
    assert!(passed >= 900, "the first watch was not silent: {passed} ms");
}
