//! The setting of a run, drawn from its seed: all of it that is not a fault.

use domicile_core::facts::Epoch;
use domicile_core::failover::{
    FailbackMode, Mode, Promotion, Proof, Rejoin, Settings, Standby, State, Stored,
};
use domicile_core::lease::Terms;
use domicile_core::names::{Jurisdiction, ServerId};
use jiff::Timestamp;

use crate::chance::{Chance, Who};
use crate::fault::Ms;
use crate::world::database::NAMES;

/// Short leases: a taker waits 9.6 s.
pub(crate) const TERMS: Terms = Terms {
    lease_seconds: 6,
    renew_seconds: 2,
};

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Any,
    /// The end of a lease, and the promises of other regions.
    Leased,
    /// The way home.
    Homeward,
    /// An asynchronous move that is overtaken by what comes back, or cut off.
    Caught,
    /// A person is asked first.
    Asked,
    /// Operators end in the middle of planned moves.
    Crashed,
    /// The last writes before a planned move do not arrive.
    Lacking,
    /// The last standby that is left follows nobody.
    Orphaned,
    /// A leader that is late.
    Late,
    /// A new pledge is the last that the hub hears of a region.
    Parted,
    /// Commits wait for the standby no more when the primary is lost.
    Relaxed,
    /// A person promotes a standby while another server serves, or is lost.
    Split,
    /// The same while the machine may not move.
    Barred,
    /// The same while it asks a person.
    Unasked,
}

/// All of a run that is not its faults.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent parts of a setting, not states"
)]
pub(crate) struct Setup {
    pub seed: u64,
    /// What was drawn for all of it, for its replay.
    pub draws: Vec<u64>,
    pub operators: usize,
    pub synchronous: bool,
    pub settings: Settings,
    pub third_is_lawful: bool,
    /// How late each client sees a change of its Secret.
    pub delays: [Ms; 3],
    /// How often somebody rejoins what waits for it; never while faults last, when absent.
    pub administrator: Option<Ms>,
    pub uptimes: [Ms; 3],
    pub drifts: [i64; 3],
    /// Each region has two agents beside its server.
    pub agents: bool,
    /// Each region has a cluster of its own, and the agents were given the others'.
    pub clusters: bool,
    pub profile: Profile,
}

impl Setup {
    pub(crate) fn of(seed: u64) -> Self {
        Self::with(seed, &[])
    }

    /// The setting of a replay: its own draws, and the seed's where it has none.
    pub(crate) fn with(seed: u64, given: &[u64]) -> Self {
        let mut chance = Chance::new(seed);
        let mut draws = Vec::new();
        let mut draw = |limit| {
            let drawn = chance.below(Who::Setup, limit);
            let drawn = given.get(draws.len()).copied().unwrap_or(drawn);
            draws.push(drawn);
            drawn
        };
        let mode = match draw(8) {
            0 => Mode::SemiAutomatic,
            1 => Mode::Manual,
            _most => Mode::Automatic,
        };
        let (agents, clusters) = (draw(2) == 0, draw(2) == 0);
        let minimum = match (draw(2), agents) {
            (0, false) => Proof::Assumed,
            (0, true) => Proof::LeaseExpired,
            _strict => Proof::SynchronousReplication,
        };
        let failback = if draw(3) == 0 {
            FailbackMode::Manual
        } else {
            FailbackMode::Automatic
        };
        let cooldown = [5, 60][draw(2) as usize];
        let delays = [0, 5_000, 60_000];
        // Kept replays hold the numbers below 10.
        let profile = match draw(37) {
            0 | 10 | 21 | 35 => Profile::Leased,
            1 | 11 | 29 => Profile::Homeward,
            2 | 12 | 13 | 22 | 34 => Profile::Caught,
            3 | 14 | 33 => Profile::Asked,
            15 | 16 | 36 => Profile::Crashed,
            17 => Profile::Lacking,
            18 => Profile::Orphaned,
            19 | 32 => Profile::Late,
            20 => Profile::Parted,
            23 => Profile::Relaxed,
            25 | 26 | 30 | 31 => Profile::Split,
            27 => Profile::Barred,
            28 => Profile::Unasked,
            _any => Profile::Any,
        };
        let mut setup = Self {
            seed,
            draws: Vec::new(),
            operators: 2 + draw(2) as usize,
            synchronous: draw(2) == 0,
            settings: settings(mode, minimum, failback, cooldown, draw(2) == 0, agents),
            third_is_lawful: draw(2) == 0,
            delays: [
                delays[draw(3) as usize],
                delays[draw(3) as usize],
                delays[draw(2) as usize],
            ],
            administrator: [None, Some(4_000), Some(15_000)][draw(3) as usize],
            uptimes: std::array::from_fn(|_| 1_000 + draw(100_000_000)),
            agents,
            clusters,
            profile,
            drifts: std::array::from_fn(|_| draw(2_000) as i64 - 1_000),
        };
        setup.draws = draws;
        setup.fits(profile);
        setup
    }

    /// What the schedule of this profile is about can happen.
    fn fits(&mut self, profile: Profile) {
        match profile {
            Profile::Any => {}
            Profile::Split => self.settings.mode = Mode::Automatic,
            Profile::Barred => {
                // No proof is to be had that is strong enough.
                self.synchronous = false;
                self.settings.mode = Mode::Automatic;
                self.settings.minimum_proof = Proof::Confirmed;
            }
            Profile::Unasked => {
                self.synchronous = true;
                self.settings.mode = Mode::SemiAutomatic;
                self.settings.minimum_proof = Proof::Assumed;
            }
            Profile::Leased | Profile::Parted => {
                (self.agents, self.clusters, self.synchronous) = (true, true, false);
                self.settings.mode = Mode::Automatic;
                self.settings.minimum_proof = Proof::LeaseExpired;
                // A pledge that came late leaves an older bound.
                let parted = profile == Profile::Parted;
                self.settings.max_data_loss_seconds = if parted { 60 } else { 20 };
            }
            Profile::Relaxed => {
                self.synchronous = true;
                self.settings.mode = Mode::Automatic;
            }
            Profile::Caught => {
                (self.agents, self.synchronous) = (false, false);
                self.settings.mode = Mode::Automatic;
                self.settings.minimum_proof = Proof::Assumed;
                self.settings.max_data_loss_seconds = 20;
            }
            Profile::Asked => {
                self.synchronous = true;
                self.settings.mode = Mode::SemiAutomatic;
            }
            Profile::Crashed => self.administrator = Some(4_000),
            Profile::Lacking => self.synchronous = false,
            Profile::Orphaned => {
                self.settings.mode = Mode::Automatic;
                self.administrator = None;
            }
            Profile::Late => {
                self.settings.mode = Mode::Automatic;
                self.administrator = Some(4_000);
            }
            Profile::Homeward => {
                self.settings.mode = Mode::Automatic;
                self.settings.failback = FailbackMode::Automatic;
                self.settings.cooldown_seconds = 5;
                // Half of this time is more than what a look may miss.
                (
                    self.settings.stable_seconds,
                    self.settings.max_stable_seconds,
                ) = (8, 24);
                self.administrator = Some(4_000);
            }
        }
    }

    pub(crate) fn law(&self, at: usize) -> Jurisdiction {
        let abroad = at == 2 && !self.third_is_lawful;
        Jurisdiction::new(if abroad { "US" } else { "EU" })
    }

    pub(crate) fn stored() -> Stored {
        Stored {
            state: State::Steady,
            since: Timestamp::from_second(1_000_000).unwrap_or(Timestamp::UNIX_EPOCH),
            epoch: Epoch(1),
            active: server(0).region,
            timeline: 1,
            claim: None,
            restore_synchronous: false,
            journal: None,
            evidence: None,
            cooldown_until: None,
            history: Vec::new(),
            returned: Vec::new(),
        }
    }
}

/// One of the servers, by its number.
pub(crate) fn server(at: usize) -> ServerId {
    ServerId::new(NAMES[at], "main")
}

fn settings(
    mode: Mode,
    minimum_proof: Proof,
    failback: FailbackMode,
    cooldown_seconds: u32,
    prefers_third: bool,
    agents: bool,
) -> Settings {
    let standby = |at: usize, promotion| Standby {
        server: ServerId::new(NAMES[at], "main"),
        priority: 10,
        promotion,
    };
    let third = if prefers_third {
        Promotion::Prefer
    } else {
        Promotion::Neutral
    };
    Settings {
        name: "p".into(),
        home: ServerId::new(NAMES[0], "main"),
        standbys: vec![standby(2, third), standby(1, Promotion::Neutral)],
        mode,
        paused: false,
        interval_seconds: 1,
        timeout_seconds: 1,
        failure_threshold: 2,
        success_threshold: 2,
        // A lease that is waited for costs its time.
        max_data_loss_seconds: if agents { 20 } else { 8 },
        heartbeat_seconds: 1,
        minimum_proof,
        drain_seconds: 1,
        max_freeze_seconds: 20,
        failback,
        stable_seconds: 5,
        max_stable_seconds: 20,
        cooldown_seconds,
        max_automatic_per_day: 100,
        // It is asked for, and no server of this world has what would do it.
        rejoin: Rejoin::Rewind,
        dump: None,
        approval_seconds: 10,
        quorum: 2,
        lease: TERMS,
    }
}
