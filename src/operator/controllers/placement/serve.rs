//! From a placement to a tenant that is served: database, Secret, login, workloads, in this order.

use std::sync::Arc;

use domicile_api::conditions::{ConditionType, Reason};
use domicile_api::meta;
use domicile_api::placement::{Include, Privileges, TenantPlacement};
use domicile_api::placement_status::ConnectionStatus;
use domicile_core::connection::{self, Connection, Home, Login, RenderError, Rendered};
use domicile_providers::{Endpoint, Generic};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::error::Halt;
use super::memory::{Inputs, Memory};
use super::observe::{BRIEF, Seat, answers, recorded, seat};
use super::progress::{Progress, Served, Stop, Until};
use super::room::Room;
use super::secret::{self, Chosen, Identity, Passwords, Refusal, Write};
use super::store::{Store, secret_call};
use super::{SOON, database, report, workloads};
use crate::context::Ctx;

/// Does all that is missing, in an order in which each interruption leaves something that the next
/// pass completes. What was found is in `progress`; `tenant` is the object as last written.
pub(super) async fn serve(
    ctx: &Ctx,
    tenant: &mut Arc<TenantPlacement>,
    memory: &Memory,
    progress: &mut Progress,
) -> Result<(), Halt> {
    let room = Room::look(ctx, tenant, &memory.promises).await;
    let seat = seat(ctx, tenant, Some(&room), progress)?;
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &namespace(tenant));
    let live = ctx.call(secrets.get_opt(&tenant.secret_name())).await;
    let live = live.map_err(|error| secret_call(tenant, "reading", error, progress))?;
    admit(tenant, &seat, live.as_ref(), progress)?;
    ready(ctx, tenant, &seat, progress)?;
    let endpoint = ctx.endpoint(&seat.active).await;
    let endpoint = endpoint.map_err(|error| not_ready(&seat, &error.message, progress))?;
    claim(ctx, tenant, &seat, progress).await?;
    let target = Target {
        tenant,
        seat: &seat,
        endpoint: &endpoint,
    };
    let chosen = target
        .choose(live.as_ref())
        .map_err(|error| bad_template(&error, progress))?;
    let rendered = target
        .render(&chosen.passwords)
        .map_err(|error| bad_template(&error, progress))?;
    let uid = tenant.uid().unwrap_or_default();
    let inputs = inputs(tenant, &seat, &rendered);
    let write = secret::write(live.as_ref(), &target.identity(), &rendered);
    progress.served = Some(target.served(&rendered, chosen.fresh));
    let enough = seat.repointing && memory.is_repointed(&uid, &inputs);
    let due = !enough && memory.due(&uid, &inputs, ctx.clock.mono());
    if due || !matches!(write, Write::Nothing) {
        memory.doubt(&uid);
        let store = Store {
            ctx,
            secrets: &secrets,
            tenant,
        };
        match target.settle(&store, &chosen, write, progress).await {
            Ok(Look::All) => memory.looked(&uid, inputs, ctx.clock.mono()),
            Ok(Look::Logins) => memory.repointed(&uid, inputs),
            Err(halt) => {
                progress.served = None;
                return Err(halt);
            }
        }
    }
    workloads::inject(ctx, tenant, memory, &rendered, progress).await
}

/// The namespace of a placement.
pub(super) fn namespace(tenant: &TenantPlacement) -> String {
    tenant.namespace().unwrap_or_default()
}

/// What it means that a namespace refuses us.
pub(super) fn not_onboarded(tenant: &TenantPlacement) -> Stop {
    let namespace = namespace(tenant);
    let message = format!(
        "the operator has no rights on Secrets and workloads in namespace {namespace}; apply what \
         `kubectl domicile onboard {namespace}` prints"
    );
    Stop::new(Until::Person, Reason::NamespaceNotOnboarded, message)
}

/// How much of the database was looked at.
enum Look {
    /// The published logins.
    Logins,
    /// All of it.
    All,
}

/// All that the content of the Secret comes from.
struct Target<'a> {
    tenant: &'a TenantPlacement,
    seat: &'a Seat,
    endpoint: &'a Endpoint,
}

impl Target<'_> {
    fn choose(&self, live: Option<&Secret>) -> Result<Chosen, RenderError> {
        let usernames = database::usernames(self.tenant, self.seat);
        secret::choose_passwords(live, &usernames, &|passwords| self.render(passwords))
    }

    /// Makes the database, stores the credentials and tries them. In a move the credentials come
    /// first, and alone: a copy that takes them has all that its clients need.
    async fn settle(
        &self,
        store: &Store<'_>,
        chosen: &Chosen,
        write: Write,
        progress: &mut Progress,
    ) -> Result<Look, Halt> {
        let Self {
            tenant,
            seat,
            endpoint,
        } = self;
        let server = Generic::new((*endpoint).clone(), database::MAKE);
        let server = server.map_err(|error| database::denied(&error, progress))?;
        let known = seat.repointing && !chosen.fresh;
        if known && database::works(&server, seat, &chosen.passwords, progress).await {
            store.write(write, progress).await?;
            return Ok(Look::Logins);
        }
        let plan = database::plan(tenant, seat);
        database::make(&server, &plan, seat, progress).await?;
        // A new password is kept before the server learns it, else it would be lost with us. A
        // known one is published only once it works on the server that it is published for.
        let (before, after) = if chosen.fresh {
            (write, Write::Nothing)
        } else {
            (Write::Nothing, write)
        };
        store.write(before, progress).await?;
        database::verify(&server, &plan, seat, &chosen.passwords, progress).await?;
        store.write(after, progress).await?;
        Ok(Look::All)
    }

    fn render(&self, passwords: &Passwords) -> Result<Rendered, RenderError> {
        let Self {
            tenant,
            seat,
            endpoint,
        } = self;
        let spec = &tenant.spec.connection;
        let usernames = database::usernames(tenant, seat);
        let (read_write, read_only) = passwords.expose();
        let name = |privileges| {
            let role = tenant
                .spec
                .roles
                .iter()
                .find(|role| role.privileges == privileges);
            role.map_or("", |role| role.name.as_str())
        };
        let writes = usernames.read_write.as_deref().zip(read_write);
        let reads = usernames.read_only.as_deref().zip(read_only);
        let login = |name| {
            move |(username, password)| Login {
                name,
                username,
                password,
            }
        };
        connection::render(&Connection {
            host: &endpoint.host,
            port: endpoint.port,
            database: &seat.database,
            read_write: writes.map(login(name(Privileges::ReadWrite))),
            read_only: reads.map(login(name(Privileges::ReadOnly))),
            ca_pem: &endpoint.ca_pem,
            home: Home {
                name: seat.home.as_str(),
                key: &seat.home_key,
                jurisdiction: seat.jurisdiction.as_str(),
            },
            serving_key: &seat.active_key,
            keys: spec.keys.as_ref(),
            region_env: spec.include.contains(&Include::RegionEnv),
        })
    }

    fn identity(&self) -> Identity {
        Identity {
            name: self.tenant.secret_name(),
            namespace: namespace(self.tenant),
            placement: self.tenant.name_any(),
            uid: self.tenant.uid().unwrap_or_default(),
            epoch: self.seat.epoch,
        }
    }

    fn served(&self, rendered: &Rendered, new_password: bool) -> Served {
        let Self {
            tenant,
            seat,
            endpoint,
        } = self;
        let usernames = database::usernames(tenant, seat);
        Served {
            server: seat.active.clone(),
            epoch: seat.epoch,
            connection: ConnectionStatus {
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                database: seat.database.to_string(),
                role: usernames
                    .read_write
                    .or(usernames.read_only)
                    .unwrap_or_default(),
            },
            secret_hash: secret::hash(rendered),
            new_password,
        }
    }
}

fn inputs(tenant: &TenantPlacement, seat: &Seat, rendered: &Rendered) -> Inputs {
    Inputs {
        generation: tenant.metadata.generation,
        asked: tenant.annotations().get(meta::RECONCILE_AT).cloned(),
        server: seat.active.clone(),
        epoch: seat.epoch,
        secret_hash: secret::hash(rendered),
    }
}

/// Records the server before anything is made on it, so that whatever happens next, a later pass
/// and a deletion know where to look.
async fn claim(
    ctx: &Ctx,
    tenant: &mut Arc<TenantPlacement>,
    seat: &Seat,
    progress: &mut Progress,
) -> Result<(), Halt> {
    if recorded(tenant).is_some() {
        return Ok(());
    }
    progress.claimed = Some(seat.active.clone());
    let message = format!(
        "database {} is being made on {}",
        seat.database, seat.active
    );
    progress.stop = Some(Stop::new(Until::Mended, Reason::Provisioning, message));
    *tenant = report::write(ctx, tenant, progress).await?;
    progress.stop = None;
    Ok(())
}

fn admit(
    tenant: &TenantPlacement,
    seat: &Seat,
    live: Option<&Secret>,
    progress: &mut Progress,
) -> Result<(), Stop> {
    let uid = tenant.uid().unwrap_or_default();
    let secret = format!("Secret {}/{}", namespace(tenant), tenant.secret_name());
    let refusal = secret::admit(live, &uid, seat.epoch).err();
    let stop = match refusal {
        None => return Ok(()),
        Some(Refusal::NotOurs(owner)) => {
            // Never "delete it": it may hold the only password of a database that was retained.
            let owner = owner.map_or_else(
                || "was not made by Domicile".to_owned(),
                |uid| {
                    format!(
                        "belongs to the TenantPlacement with UID {uid} (if that is gone, it left \
                         its database, too, and no other placement takes them over)"
                    )
                },
            );
            let message = format!(
                "{secret} exists and {owner}; it was left alone, set another \
                 `spec.connection.secretName`"
            );
            Stop::new(Until::Person, Reason::SecretOwnedByOther, message)
        }
        Some(Refusal::Newer(epoch)) => {
            let message = format!(
                "{secret} was written under epoch {epoch}, newer than {}; it was left alone",
                seat.epoch
            );
            Stop::new(Until::Moved, Reason::StaleEpoch, message)
        }
    };
    Err(progress.deny(ConditionType::CredentialsCurrent, stop))
}

/// Whether the server can be worked on now.
fn ready(
    ctx: &Ctx,
    tenant: &TenantPlacement,
    seat: &Seat,
    progress: &mut Progress,
) -> Result<(), Halt> {
    match answers(ctx, &seat.active) {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) if seat.brief && recorded(tenant).is_some() => Err(Halt::Later(BRIEF)),
        Some(Err(fact)) => Err(not_ready(seat, &fact, progress).into()),
        // A restarted operator has probed nothing yet: no reason to call a served tenant unready.
        None if recorded(tenant).is_some() => Err(Halt::Later(SOON)),
        None => Err(not_ready(seat, "it was not probed yet", progress).into()),
    }
}

fn not_ready(seat: &Seat, fact: &str, progress: &mut Progress) -> Stop {
    let message = format!(
        "Region {} is not ready: its database server {}: {fact}",
        seat.active.region, seat.active.server
    );
    let stop = Stop::new(Until::Mended, Reason::RegionNotReady, message);
    progress.deny(ConditionType::DatabaseReady, stop)
}

fn bad_template(error: &RenderError, progress: &mut Progress) -> Stop {
    let stop = Stop::new(Until::Person, Reason::InvalidTemplate, error.to_string());
    progress.deny(ConditionType::CredentialsCurrent, stop)
}
