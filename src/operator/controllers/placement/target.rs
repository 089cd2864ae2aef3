//! What a tenant's Secret and database must be: from the placement, its seat and its server.

use domicile_api::conditions::{self, ConditionType, Reason};
use domicile_api::meta;
use domicile_api::placement::{Include, Privileges, TenantPlacement};
use domicile_api::placement_status::{ConnectionStatus, HostStatus};
use domicile_core::connection::{self, Connection, Home, Login, RenderError, Rendered};
use domicile_core::names::Slot;
use domicile_core::placement::{Missing, Reads};
use domicile_core::replica::{Address, Awaited};
use domicile_core::rotation;
use domicile_providers::{Endpoint, Generic, TenantPlan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::endpoint::{Published, watch};
use super::error::Halt;
use super::external::External;
use super::memory::Inputs;
use super::observe::{Seat, recorded};
use super::progress::{Progress, Served};
use super::reads::Patience;
use super::secret::{self, Chosen, Identity, Passwords, Source, Write};
use super::serve::namespace;
use super::store::Store;
use super::verify::{Evidence, Known};
use super::{adoption, database, inside, reads, verify};

/// How much of the database was looked at.
pub(super) enum Look {
    /// The published logins.
    Logins,
    /// All of it.
    All {
        /// What is missing, for a person to see to.
        missing: Option<(Reason, String)>,
        /// The logins that are not published, if they were found closed.
        shut: Option<Slot>,
    },
}

/// All that the content of the Secret comes from.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) tenant: &'a TenantPlacement,
    pub(super) seat: &'a Seat,
    pub(super) endpoint: &'a Endpoint,
    pub(super) external: &'a External,
    /// Where the login that only reads leads.
    pub(super) reads: &'a Reads,
    /// What the last pass waited for there.
    pub(super) awaited: Option<&'a Awaited>,
    pub(super) published: &'a Published,
}

impl Target<'_> {
    /// The logins to publish: those that the untouched Secret holds, else those of the recorded
    /// slot, unless the Secret tells of the others alone. A rotation whose status was not stored is
    /// so known by its Secret.
    pub(super) fn choose(&self, live: Option<&Secret>) -> Result<Chosen, RenderError> {
        let recorded = self.tenant.active_slot();
        let first = self.candidates(live, recorded)?;
        if first.source == Source::Vouched {
            return Ok(first);
        }
        let other = self.candidates(live, recorded.other())?;
        let alone = other.held && !first.held;
        Ok(if other.source == Source::Vouched || alone {
            other
        } else {
            first
        })
    }

    /// New passwords in the place of published ones that nobody knows any more: for the other
    /// logins where that can be, as the present ones are in the memory of clients.
    pub(super) fn anew(&self) -> Result<Chosen, RenderError> {
        let known = self.tenant.credentials();
        let active = self.tenant.active_slot();
        let slot = rotation::replacement(known.as_ref(), active, self.seat.steady);
        self.candidates(None, slot)
    }

    /// Whether these are not the logins that the status records.
    pub(super) fn turns(&self, chosen: &Chosen) -> bool {
        let known = self.tenant.credentials();
        known.is_some() && chosen.slot != self.tenant.active_slot()
    }

    fn candidates(&self, live: Option<&Secret>, slot: Slot) -> Result<Chosen, RenderError> {
        let usernames = database::usernames(self.tenant, self.seat, slot);
        let given = self.external.given();
        let led = |replica: Option<&Address>| {
            secret::choose_passwords(live, slot, &usernames, given, &|passwords| {
                self.content(slot, passwords, replica)
            })
        };
        let (now, before) = (self.reads.replica(), reads::recorded(self.tenant));
        let chosen = led(now)?;
        if chosen.source == Source::Vouched || before.as_ref() == now {
            return Ok(chosen);
        }
        // The untouched Secret still leads where the status says.
        let untouched = led(before.as_ref())?;
        Ok(if untouched.source == Source::Vouched {
            untouched
        } else {
            chosen
        })
    }

    /// The logins that must be closed: those that are neither published nor retiring.
    fn idle(&self, chosen: &Chosen) -> Option<Slot> {
        let known = self.tenant.credentials()?;
        let settled = chosen.slot == self.tenant.active_slot() && known.retiring.is_none();
        (settled && self.seat.steady).then(|| chosen.slot.other())
    }

    /// Whether the tenant is served as its status records it: what differs on the server then was
    /// changed there.
    fn as_recorded(&self) -> bool {
        self.is_here() && self.seat.steady && self.tenant.credentials().is_some()
    }

    /// Whether the status records this server, under this epoch.
    fn is_here(&self) -> bool {
        recorded(self.tenant) == Some((self.seat.active.clone(), self.seat.epoch))
    }

    /// What is known of the published passwords.
    fn known(&self, store: &Store<'_>, chosen: &Chosen) -> Known {
        let status = self.tenant.status.as_ref();
        let recorded_hash = status.and_then(|status| status.secret_hash.as_deref());
        Known::of(Evidence {
            fresh: chosen.fresh,
            as_recorded: store.live_hash.is_some() && store.live_hash == recorded_hash,
            untouched: chosen.source == Source::Vouched,
            moved: !self.is_here(),
        })
    }

    /// What was said of the database last.
    fn database_ready(&self) -> Option<&Condition> {
        let status = self.tenant.status.as_ref()?;
        conditions::find(&status.conditions, ConditionType::DatabaseReady)
    }

    /// Whether the database was found as planned before, by the plan that holds now: what differs
    /// then was changed on the server.
    fn was_settled(&self) -> bool {
        let by_this_plan = self.database_ready().is_some_and(|ready| {
            ready.status == "True" && ready.observed_generation == self.tenant.metadata.generation
        });
        by_this_plan && self.as_recorded()
    }

    /// Whether the status says that all of the tenant was found as it must be now, and nobody asks
    /// for a look.
    pub(super) fn stands(&self, inputs: &Inputs) -> bool {
        let Some(status) = self.tenant.status.as_ref() else {
            return false;
        };
        let placed = conditions::find(&status.conditions, ConditionType::Ready);
        // A cluster that does not answer says nothing of the database.
        let good = [Reason::Placed, Reason::ClusterUnreachable].map(Reason::as_str);
        let placed = placed
            .is_some_and(|ready| ready.status == "True" && good.contains(&ready.reason.as_str()));
        let same = status.secret_hash.as_deref() == Some(&inputs.secret_hash);
        placed && same && inputs.asked.is_none() && self.was_settled()
    }

    /// All that a look at the database depends on.
    pub(super) fn inputs(&self, chosen: &Chosen, rendered: &Rendered) -> Inputs {
        let tenant = self.tenant;
        Inputs {
            generation: tenant.metadata.generation,
            asked: tenant.annotations().get(meta::RECONCILE_AT).cloned(),
            server: self.seat.active.clone(),
            epoch: self.seat.epoch,
            secret_hash: secret::hash(rendered),
            idle: self.idle(chosen),
            unlisted: database::unlisted(tenant, self.seat),
        }
    }

    /// The tenant as it must be.
    fn plan(&self, chosen: &Chosen, now: Timestamp) -> TenantPlan {
        let told = Reason::DatabaseMissing.as_str();
        let missing = Missing {
            adopts: database::adopts(self.tenant),
            had: self.tenant.credentials().is_some(),
            here: self.is_here(),
            told: self
                .database_ready()
                .is_some_and(|ready| ready.reason == told),
            asked: self.tenant.asks_for_database(now),
        };
        TenantPlan {
            makes: missing.is_made(),
            ..database::plan(self.tenant, self.seat, self.idle(chosen))
        }
    }

    /// Makes the database, stores the credentials and tries them. In a move the credentials come
    /// first, and alone: a copy that takes them has all that its clients need.
    pub(super) async fn settle(
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
            external: _,
            reads: _,
            awaited: _,
            published,
        } = self;
        let server = Generic::new((*endpoint).clone(), database::MAKE);
        let server = server.map_err(|error| database::denied(&error, progress))?;
        let known = seat.repointing && !chosen.fresh;
        if known && database::works(&server, seat, chosen, progress).await {
            self.try_reads(store.at.ctx, chosen, Patience::Pass, progress)
                .await?;
            // The name that the Secret tells leads somewhere before it is told.
            store.turn(progress).await?;
            store.write(write, progress).await?;
            return Ok(Look::Logins);
        }
        let plan = self.plan(chosen, store.at.ctx.clock.now().wall);
        let looked = database::make(store.at.ctx, &server, (tenant, &plan), seat, progress).await?;
        if looked.made && tenant.credentials().is_some() {
            adoption::begun_anew(seat, progress);
        }
        let other = chosen.slot.other();
        let shut = looked.shut.contains(&other).then_some(other);
        let missing = inside::tell((tenant, seat), looked, self.was_settled(), progress);
        if missing.is_none() {
            inside::made(tenant, progress);
        }
        // A new password is kept before the server learns it, else it would be lost with us. A
        // known one is published only once it works on the server that it is published for, and so
        // is one of logins that nobody uses: lost with us, it is made once more.
        let kept_first = chosen.fresh && !self.turns(chosen);
        let (before, after) = if kept_first {
            (write, Write::Nothing)
        } else {
            (Write::Nothing, write)
        };
        store.write(before, progress).await?;
        let known = self.known(store, chosen);
        verify::verify(&server, &plan, seat, (chosen, known), progress).await?;
        // Not proven by the pass that stored the Secret, where that had to wait.
        let led = reads::recorded(tenant).as_ref() == self.reads.replica();
        if chosen.fresh || !led || !matches!(after, Write::Nothing) {
            let lasting = kept_first || !chosen.fresh;
            let patience = if lasting {
                Patience::Replay
            } else {
                Patience::Pass
            };
            self.try_reads(store.at.ctx, chosen, patience, progress)
                .await?;
        }
        store.turn(progress).await?;
        store.write(after, progress).await?;
        let names = watch(store.at.ctx, seat, (*endpoint, *published), progress).await;
        let missing = missing.or(names);
        Ok(Look::All { missing, shut })
    }

    /// What the Secret holds when these logins are published.
    pub(super) fn render(&self, chosen: &Chosen) -> Result<Rendered, RenderError> {
        self.content(chosen.slot, &chosen.passwords, self.reads.replica())
    }

    fn content(
        &self,
        slot: Slot,
        passwords: &Passwords,
        replica: Option<&Address>,
    ) -> Result<Rendered, RenderError> {
        let Self {
            tenant,
            seat,
            endpoint: _,
            external: _,
            reads: _,
            awaited: _,
            published,
        } = self;
        let spec = &tenant.spec.connection;
        let usernames = database::usernames(tenant, seat, slot);
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
        // A Secret that stays through a move does not tell who serves.
        let moving = published.service.is_none();
        let replica = replica.filter(|_| moving);
        let login = |name| {
            move |(username, password)| Login {
                name,
                username,
                password,
            }
        };
        connection::render(&Connection {
            host: &published.host,
            port: published.port,
            hosts: published.hosts.as_deref(),
            reads: replica,
            database: &seat.database,
            read_write: writes.map(login(name(Privileges::ReadWrite))),
            read_only: reads.map(login(name(Privileges::ReadOnly))),
            ca_pem: &published.ca_pem,
            folder: &tenant.mount_path(),
            home: Home {
                name: seat.home.as_str(),
                key: &seat.home_key,
                jurisdiction: seat.jurisdiction.as_str(),
            },
            serving_key: moving.then_some(seat.active_key.as_str()),
            keys: spec.keys.as_ref(),
            region_env: spec.include.contains(&Include::RegionEnv),
        })
    }

    /// Where, for whom and under which epoch the Secret is written.
    pub(super) fn identity(&self, now: Timestamp) -> Identity {
        Identity {
            name: self.tenant.secret_name(),
            namespace: namespace(self.tenant),
            placement: self.tenant.name_any(),
            uid: self.tenant.uid().unwrap_or_default(),
            epoch: self.seat.epoch,
            lasting: self.published.service.is_some(),
            region: None,
            answered: None,
            now,
        }
    }

    /// What the status tells of these logins.
    pub(super) fn served(&self, rendered: &Rendered, chosen: &Chosen) -> Served {
        let Self {
            tenant,
            seat,
            endpoint: _,
            external: _,
            reads,
            awaited: _,
            published,
        } = self;
        let usernames = database::usernames(tenant, seat, chosen.slot);
        let leads_to = match published.service {
            Some(_) => seat.place.clone(),
            None => seat.active.clone(),
        };
        let read_only = usernames.read_only.is_some();
        let read_only = read_only.then(|| reads::told(reads, &seat.active, published));
        Served {
            server: seat.active.clone(),
            epoch: seat.epoch,
            connection: ConnectionStatus {
                host: published.host.clone(),
                port: i32::from(published.port),
                database: seat.database.to_string(),
                role: usernames
                    .read_write
                    .or(usernames.read_only)
                    .unwrap_or_default(),
                read_only,
                hosts: published
                    .hosts
                    .iter()
                    .flatten()
                    .map(HostStatus::from)
                    .collect(),
            },
            secret_hash: secret::hash(rendered),
            leads_to,
            slot: chosen.slot,
            new_password: chosen.fresh,
            answered: None,
        }
    }
}
