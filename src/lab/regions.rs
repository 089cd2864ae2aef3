//! The three regions: a network and a database server each.
//!
//! `eu-west` and `eu-central` are one group: a primary and its standby, under one pair of
//! passwords. `us-east` is a primary of its own and shares nothing with them.

mod catalog;
mod network;
mod record;
mod status;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domicile_core::admin::MAINTENANCE_DATABASE;
use secrecy::SecretString;

use crate::error::{LabError, Result};
use crate::postgres::{Activity, Binaries, Engine, Place, Rejoined, Server, ServerSpec, Settings};
use crate::process::Patience;
use crate::space::Space;
use crate::tools::Patroni;
use network::Direction;
use record::{Record, Secrets};

pub use catalog::{How, REGIONS, Region};
pub use network::Traffic;
pub use status::RegionStatus;

/// The port of every server in the space.
pub const PORT: u16 = 5432;

const FOLDER: &str = "regions";
const JOIN_LIMIT: Duration = Duration::from_secs(30);

/// What the regions are started with.
#[derive(Debug, Clone)]
pub struct RegionOptions {
    /// The PostgreSQL of all three.
    pub binaries: Binaries,
    /// Whether `eu-west` waits for `eu-central` before it acknowledges a commit.
    pub synchronous: bool,
    /// How the servers are tuned.
    pub settings: Settings,
    /// Patroni, when it is to run the servers.
    pub patroni: Option<Patroni>,
}

/// The running regions.
#[derive(Debug)]
pub struct Regions {
    dir: PathBuf,
    space: Space,
    servers: BTreeMap<&'static str, Server>,
    secrets: Secrets,
}

impl Regions {
    /// Makes the networks and servers of all regions in `space`, with files below `dir`; returns
    /// when all accept logins and `eu-central` streams. What it began ends with the space.
    pub fn start(
        space: &Space,
        dir: &Path,
        options: &RegionOptions,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let dir = record::make_folder(&dir.join(FOLDER))?;
        network::check()?;
        for region in &REGIONS {
            space.add_region_network(region.name, &region.address.to_string())?;
            network::count(space, region)?;
        }
        let binaries = options.binaries.reachable(&dir)?;
        let secrets = Secrets::new()?;
        secrets.save(&dir)?;
        let engine = match &options.patroni {
            Some(patroni) => Engine::patroni(patroni, &dir)?,
            None => Engine::Plain,
        };
        let record = Record {
            programs: binaries.program(""),
            synchronous: options.synchronous,
            engine: engine.clone(),
            lost: BTreeMap::new(),
        };
        record.save(&dir)?;
        let site = (options.settings.clone(), engine);
        let specs = specs(space, &dir, &site, &binaries, &secrets)?;
        let servers = launch(specs, progress)?;
        let regions = Self {
            dir,
            space: space.clone(),
            servers,
            secrets,
        };
        if options.synchronous {
            regions.make_synchronous()?;
        }
        Ok(regions)
    }

    /// The regions that were started in `space` with files below `dir`, if any were.
    pub fn open(space: &Space, dir: &Path) -> Result<Option<Self>> {
        let dir = dir.join(FOLDER);
        let Some(record) = Record::load(&dir)? else {
            return Ok(None);
        };
        let secrets = Secrets::load(&dir)?;
        let binaries = Binaries::in_folder(&record.programs)?;
        let site = (Settings::default(), record.engine);
        let specs = specs(space, &dir, &site, &binaries, &secrets)?;
        let servers = specs
            .into_iter()
            .map(|(name, spec)| (name, Server::open(spec)))
            .collect();
        Ok(Some(Self {
            dir,
            space: space.clone(),
            servers,
            secrets,
        }))
    }

    /// The server of a region; the error lists the regions that exist.
    pub fn server(&self, region: &str) -> Result<&Server> {
        let name = Region::named(region)?.name;
        let absent = || LabError::State(format!("{name} has no server"));
        self.servers.get(name).ok_or_else(absent)
    }

    /// The certificate of the authority of a region's server, PEM.
    pub fn ca_pem(&self, region: &str) -> Result<&str> {
        self.secrets.ca_pem(Region::named(region)?)
    }

    /// The password of the role [`crate::postgres::ADMIN`] on a region's server.
    pub fn admin_password(&self, region: &str) -> Result<&SecretString> {
        Ok(&self.secrets.passwords(Region::named(region)?)?.admin)
    }

    /// The password of the login [`crate::postgres::REST_USER`] of a region's Patroni.
    pub fn patroni_password(&self, region: &str) -> Result<&SecretString> {
        Ok(&self.secrets.passwords(Region::named(region)?)?.patroni)
    }

    /// How the regions that are lost were lost.
    pub fn lost(&self) -> Result<BTreeMap<String, How>> {
        Ok(Record::load(&self.dir)?
            .map(|record| record.lost)
            .unwrap_or_default())
    }

    /// Loses a region. It stays lost, whatever process asks, until [`Self::restore`] or
    /// [`Self::rejoin`]. Errors when it is lost already.
    pub fn lose(&self, region: &str, how: How) -> Result<()> {
        let server = self.server(region)?;
        if let Some(already) = self.lost()?.get(region) {
            let why = format!("{region} is lost already ({already}); restore it first");
            return Err(LabError::State(why));
        }
        // Noted first: a region that is noted but works can be restored, the reverse cannot.
        self.note(region, Some(how))?;
        match how {
            How::Kill => server.kill(),
            How::Freeze => {
                server.freeze();
                Ok(())
            }
            How::Cut => network::cut(&self.space, Region::named(region)?, Direction::Both),
            How::CutIn => network::cut(&self.space, Region::named(region)?, Direction::In),
            How::CutOut => network::cut(&self.space, Region::named(region)?, Direction::Out),
            How::Full => server.fill(),
        }
    }

    /// Drops what goes between a region and these addresses, until [`Self::mend`].
    pub fn part(&self, region: &str, from: &[String]) -> Result<()> {
        network::part(&self.space, Region::named(region)?, from)
    }

    /// Drops that many of a hundred packets of a region by chance, at most 99, until
    /// [`Self::mend`].
    pub fn thin(&self, region: &str, percent: u8) -> Result<()> {
        network::thin(&self.space, Region::named(region)?, percent)
    }

    /// Undoes [`Self::part`] and [`Self::thin`]; fine when there is nothing to undo.
    pub fn mend(&self, region: &str) -> Result<()> {
        network::mend(&self.space, Region::named(region)?)
    }

    /// Undoes the loss of a region, and nothing else: its server comes back as what it was.
    /// Returns how it was lost; absent when it was not.
    pub fn restore(&self, region: &str) -> Result<Option<How>> {
        let server = self.server(region)?;
        let Some(how) = self.lost()?.get(region).copied() else {
            return Ok(None);
        };
        match how {
            How::Kill if server.activity() == Activity::Ended => server.start()?,
            How::Kill => {}
            How::Freeze => server.thaw(),
            How::Cut | How::CutIn | How::CutOut => {
                network::heal(&self.space, Region::named(region)?)?;
            }
            How::Full => {
                // What the limit left alive goes on under it, so that only a new process is free.
                server.kill()?;
                server.start()?;
            }
        }
        self.note(region, None)?;
        Ok(Some(how))
    }

    /// Makes a region's server a streaming standby of the other one of its group, as a DBA or an
    /// HA agent does. A killed or frozen region is back with that; one that is cut off has to be
    /// restored first. Errors for a region without a peer, and when the peer is no primary.
    pub fn rejoin(&self, region: &str) -> Result<Rejoined> {
        let server = self.server(region)?;
        let alone = || LabError::State(format!("{region} has no other server to follow"));
        let peer = Region::named(region)?.peer().ok_or_else(alone)?;
        let cut = [How::Cut, How::CutIn, How::CutOut];
        if self
            .lost()?
            .get(region)
            .is_some_and(|how| cut.contains(how))
        {
            return Err(LabError::State(format!(
                "{region} is cut off; restore it first"
            )));
        }
        let how = server.rejoin(self.server(peer.name)?)?;
        self.note(region, None)?;
        Ok(how)
    }

    /// What each region is seen to be doing.
    pub fn status(&self) -> Result<Vec<RegionStatus>> {
        let lost = self.lost()?;
        REGIONS
            .iter()
            .map(|region| {
                Ok(status::observe(
                    region,
                    self.server(region.name)?,
                    lost.get(region.name),
                ))
            })
            .collect()
    }

    /// What has arrived since the start from one region's server at the other's and back. Dropped
    /// packets do not count.
    pub fn traffic_between(&self, one: &str, other: &str) -> Result<Traffic> {
        let (one, other) = (Region::named(one)?, Region::named(other)?);
        let there = network::arrived(&self.space, one, other)?;
        let back = network::arrived(&self.space, other, one)?;
        Ok(Traffic {
            packets: there.packets + back.packets,
            bytes: there.bytes + back.bytes,
        })
    }

    fn note(&self, region: &str, how: Option<How>) -> Result<()> {
        let gone = || LabError::State("the record of the regions is gone".to_owned());
        let mut record = Record::load(&self.dir)?.ok_or_else(gone)?;
        match how {
            Some(how) => record.lost.insert(region.to_owned(), how),
            None => record.lost.remove(region),
        };
        record.save(&self.dir)
    }

    /// By `ALTER SYSTEM`, so that the operator can alter it too.
    fn make_synchronous(&self) -> Result<()> {
        for region in &REGIONS {
            let Some(primary) = region.standby_of else {
                continue;
            };
            let server = self.server(primary)?;
            let set = format!(
                "ALTER SYSTEM SET synchronous_standby_names = '\"{}\"'; \nSELECT pg_reload_conf()",
                region.name
            );
            server.superuser_sql(MAINTENANCE_DATABASE, &set)?;
            let sql = "SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'";
            let patience = Patience::new("synchronous replication", JOIN_LIMIT);
            while server.superuser_sql(MAINTENANCE_DATABASE, sql)? != region.name {
                patience.pause(|| format!("{} is not synchronous", region.name))?;
            }
        }
        Ok(())
    }
}

fn specs(
    space: &Space,
    dir: &Path,
    (settings, engine): &(Settings, Engine),
    binaries: &Binaries,
    secrets: &Secrets,
) -> Result<BTreeMap<&'static str, ServerSpec>> {
    let spec = |region: &'static Region| {
        let spec = ServerSpec {
            region: region.name.to_owned(),
            dir: dir.join(region.name),
            address: region.address,
            port: PORT,
            binaries: binaries.clone(),
            tls: secrets.tls(region)?,
            passwords: secrets.passwords(region)?.clone(),
            place: Place::Space {
                space: space.clone(),
                netns: region.name.to_owned(),
            },
            settings: settings.clone(),
            engine: engine.clone(),
            peers: region
                .peer()
                .map(|peer| peer.name.to_owned())
                .into_iter()
                .collect(),
        };
        Ok((region.name, spec))
    };
    REGIONS.iter().map(spec).collect()
}

/// Starts the primaries side by side, then their standbys.
fn launch(
    mut specs: BTreeMap<&'static str, ServerSpec>,
    progress: &mut dyn FnMut(&str),
) -> Result<BTreeMap<&'static str, Server>> {
    let mut take = |region: &Region| {
        let absent = || LabError::State(format!("{} has no spec", region.name));
        specs.remove(region.name).ok_or_else(absent)
    };
    let mut servers = BTreeMap::new();
    progress("PostgreSQL: starting the primaries");
    let starting: Vec<_> = REGIONS
        .iter()
        .filter(|region| region.standby_of.is_none())
        .map(|region| Ok((region.name, take(region)?)))
        .collect::<Result<_>>()?;
    let started: Vec<(&str, Result<Server>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = starting
            .into_iter()
            .map(|(name, spec)| (name, scope.spawn(|| Server::primary(spec))))
            .collect();
        let died = || LabError::State("the start of a server panicked".to_owned());
        threads
            .into_iter()
            .map(|(name, thread)| (name, thread.join().unwrap_or_else(|_| Err(died()))))
            .collect()
    });
    for (name, server) in started {
        servers.insert(name, server?);
    }
    for region in &REGIONS {
        let Some(primary) = region.standby_of.and_then(|name| servers.get(name)) else {
            continue;
        };
        progress(&format!(
            "PostgreSQL: {} copies {}",
            region.name,
            primary.region()
        ));
        let standby = Server::standby(take(region)?, primary)?;
        servers.insert(region.name, standby);
    }
    Ok(servers)
}
