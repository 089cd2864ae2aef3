//! A way to an API server that can be changed under the clients that use it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::Request;
use kube::Client;
use kube::client::Body;

/// Leads where the last client leads that it was given.
#[derive(Clone)]
pub struct Way {
    current: Arc<Mutex<Client>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").finish_non_exhaustive()
    }
}

impl Way {
    /// The way that `client` is.
    pub fn new(client: Client) -> Self {
        let current = Arc::new(Mutex::new(client));
        Self { current }
    }

    /// Leads where `client` does from now on; calls that are under way end as they began.
    pub fn lead(&self, client: Client) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// A client that goes this way, wherever it leads.
    pub fn client(&self) -> Client {
        let namespace = self.now().default_namespace().to_owned();
        let way = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let client = way.now();
            async move { client.send(request).await }
        });
        Client::new(service, namespace)
    }

    fn now(&self) -> Client {
        let current = self.current.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
