//! Requests whose whole answer is looked at: code, `Warning:` headers and body.

use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::Request;
use serde_json::Value;

/// Sends a request of `kube`; a macro, because the type of requests has no name here.
macro_rules! send {
    ($client:expr, $request:expr) => {{
        let answer = $client
            .send($request.unwrap().map(Body::from))
            .await
            .unwrap();
        let (code, headers) = (answer.status().as_u16(), answer.headers());
        let warnings = headers.get_all("warning").iter();
        let warnings = warnings
            .map(|text| text.to_str().unwrap().to_owned())
            .collect();
        let body = answer.into_body().collect_bytes().await.unwrap();
        Answer {
            code,
            warnings,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }};
}

/// What the API server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP code.
    pub(crate) code: u16,
    /// The `Warning:` headers.
    pub(crate) warnings: Vec<String>,
    /// The object, or a `Status`.
    pub(crate) body: Value,
}

impl Answer {
    /// The text of a refusal.
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

/// Creates an object; when `dry`, all but storing it is done.
pub(crate) async fn create(client: &Client, object: &Value, dry: bool) -> Answer {
    let parameters = PostParams {
        dry_run: dry,
        field_manager: None,
    };
    let body = serde_json::to_vec(object).unwrap();
    send!(
        client,
        Request::new(collection(object)).create(&parameters, body)
    )
}

/// Tries a merge patch without storing what comes out.
pub(crate) async fn try_patch(client: &Client, object: &Value, patch: &Value) -> Answer {
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let request = Request::new(collection(object));
    send!(
        client,
        request.patch(name(object), &parameters, &Patch::Merge(patch))
    )
}

/// As [`try_patch`], of the status.
pub(crate) async fn try_status(client: &Client, object: &Value, patch: &Value) -> Answer {
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let request = Request::new(collection(object));
    let patch = Patch::Merge(patch);
    send!(
        client,
        request.patch_subresource("status", name(object), &parameters, &patch)
    )
}

/// Lists objects like this one by a field.
pub(crate) async fn select(client: &Client, object: &Value, selector: &str) -> Answer {
    let parameters = ListParams::default().fields(selector);
    send!(client, Request::new(collection(object)).list(&parameters))
}

/// Deletes the object; none there is fine.
pub(crate) async fn delete(client: &Client, object: &Value) {
    let request = Request::new(collection(object));
    let answer = send!(
        client,
        request.delete(name(object), &DeleteParams::default())
    );
    assert!([200, 202, 404].contains(&answer.code), "{answer:?}");
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// The path of the collection that the object belongs to.
fn collection(object: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let version = word(&object["apiVersion"]);
    let root = if version.contains('/') {
        "/apis"
    } else {
        "/api"
    };
    let plural = match word(&object["kind"]).as_str() {
        "FailoverPolicy" => "failoverpolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{version}/{plural}"),
    }
}
