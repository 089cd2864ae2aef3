//! What promotes and rejoins a database server, by the server's entry in the Region.

use std::time::Duration;

use domicile_api::region::{self, DatabaseServer, ProviderType};
use domicile_core::names::ServerId;
use domicile_providers::{Managed, Patroni, PatroniEndpoint, Upstream};
use secrecy::ExposeSecret;

use super::{OpenError, entry, port_invalid, region_not_found, text, unopened};
use crate::context::Ctx;

impl Ctx {
    /// The server `id` with what promotes it.
    pub async fn open_managed(
        &self,
        id: &ServerId,
        deadline: Duration,
    ) -> Result<Managed, OpenError> {
        let sql = self.open(id, deadline).await?;
        Ok(match self.open_patroni(id, deadline).await? {
            Some(patroni) => Managed::patroni(sql, patroni),
            None => Managed::generic(sql),
        })
    }

    /// A way to the Patroni that runs the server `id`; none when nothing does.
    pub async fn open_patroni(
        &self,
        id: &ServerId,
        deadline: Duration,
    ) -> Result<Option<Patroni>, OpenError> {
        let region = self.stores.regions.get(id.region.as_str());
        let region = region.ok_or_else(|| region_not_found(id))?;
        let server = entry(&region, id)?;
        let Some(patroni) = patroni(server) else {
            return Ok(None);
        };
        let of = format!("Server {id}");
        let ca = patroni
            .ca_secret_ref
            .as_ref()
            .unwrap_or(&server.tls.ca_secret_ref);
        let ca_key = self.key(ca.namespace.as_deref(), &ca.name);
        let login = &patroni.credentials_secret_ref;
        let login_key = self.key(login.namespace.as_deref(), &login.name);
        let ca_secret = self.secret(&of, &ca_key).await?;
        let login_secret = self.secret(&of, &login_key).await?;
        let endpoint = PatroniEndpoint {
            server: format!("{}:{}", server.host, server.port),
            urls: patroni.urls.clone(),
            ca_pem: text(&of, &ca_key, &ca_secret, &ca.key)?
                .expose_secret()
                .to_owned(),
            username: text(&of, &login_key, &login_secret, "username")?
                .expose_secret()
                .to_owned(),
            password: text(&of, &login_key, &login_secret, "password")?,
        };
        let opened = Patroni::new(endpoint, deadline).map_err(|error| unopened(id, &error));
        opened.map(Some)
    }

    /// How the server `id` is to follow the server `upstream`.
    pub fn upstream(&self, id: &ServerId, upstream: &ServerId) -> Result<Upstream, OpenError> {
        let found = |id: &ServerId| {
            let region = self.stores.regions.get(id.region.as_str());
            let region = region.ok_or_else(|| region_not_found(id))?;
            entry(&region, id).cloned()
        };
        let (own, other) = (found(id)?, found(upstream)?);
        let port = u16::try_from(other.port);
        Ok(Upstream {
            port: port.map_err(|_| port_invalid(upstream, other.port))?,
            host: other.host,
            slot: patroni(&own).and_then(|patroni| patroni.slot.clone()),
        })
    }
}

/// How Patroni is reached, where it runs the server.
pub(crate) fn patroni(server: &DatabaseServer) -> Option<&region::Patroni> {
    match server.provider.type_ {
        ProviderType::Generic => None,
        ProviderType::Patroni => server.provider.patroni.as_ref(),
    }
}
