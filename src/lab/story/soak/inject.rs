//! Breaks something, waits until what must come of it has come, and mends it.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::fault::{Dice, Kind};
use super::tally::Death;
use crate::clock::monotonic;
use crate::error::{LabError, Result};
use crate::process::interrupted;
use crate::regions::{How, REGIONS, Region};
use crate::story::Agents;
use crate::story::moves::Moved;
use crate::story::objects::is;
use crate::story::operator::{kill_all, leader, processes, signal};
use crate::story::stage::Stage;
use crate::story::watch::{PolicyWatch, Transition};

/// How long a fault that must move nobody lasts: more than twice the probes of an outage.
const HOLD_MS: u64 = 8000;
/// How long agents stand still: less than what is left of a lease at worst.
const STILL_MS: u64 = 5000;
/// How long the old primary stays away after its tenants have moved.
const AFTER_MS: u64 = 1000;
/// How long the old primary is back before it is made a standby: time for it to do harm.
const RETURNED_MS: u64 = 1000;
const REACTION_LIMIT: Duration = Duration::from_secs(40);
/// The states at whose beginning operators are killed: every one of a failover.
const MOMENTS: [&str; 6] = [
    "Suspect",
    "Outage",
    "Fencing",
    "Promoting",
    "Rerouting",
    "Verifying",
];
/// How long the word of a write takes to come here, and less than a successor takes to lead.
const TOLD_MS: u64 = 100;
/// How often the region flaps.
const FLAPS: u64 = 3;
/// The cooldown in seconds of a region that flaps, which lasts as long as the longest flapping:
/// without one every flap may move the tenants.
const COOLDOWN: u64 = 25;

/// The agents of the regions that have some.
pub(super) type Posts = BTreeMap<&'static str, Agents>;

/// The fault of one cycle.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    pub(super) stage: &'a Stage,
    pub(super) watch: &'a PolicyWatch,
    pub(super) dice: Dice,
    pub(super) kind: Kind,
    pub(super) primary: &'static Region,
    pub(super) standby: &'static Region,
}

impl Fault<'_> {
    /// Brings about what must be so before tenants' traffic is waited for: the cooldown of the
    /// kind, and a policy that says it could fail over. Errors: it does not come to that.
    pub(super) fn prepare(&self) -> Result<()> {
        self.cooldown(if self.kind == Kind::Flap { COOLDOWN } else { 0 })?;
        self.stage.await_policy("ready to fail over", |policy| {
            is(policy, "FailoverReady", "True")
        })
    }

    /// Breaks, waits and mends; returns when operators were killed, if any were. `fault` is this
    /// moment. Errors: what must come did not come.
    pub(super) fn play(&self, posts: &mut Posts, fault: u64) -> Result<Option<Death>> {
        match self.kind {
            Kind::AgentKilled => {
                self.kill_agent(posts)?;
                rest(HOLD_MS)?;
            }
            Kind::AgentsFrozen => self.agents_frozen(posts)?,
            Kind::CutAgentKilled => self.lost(How::Cut, || self.kill_agent(posts))?,
            Kind::Kill => self.lost(How::Kill, || Ok(()))?,
            Kind::Freeze => self.lost(How::Freeze, || Ok(()))?,
            Kind::Cut => self.lost(How::Cut, || Ok(()))?,
            Kind::CutIn => self.lost(How::CutIn, || Ok(()))?,
            Kind::CutOut => self.lost(How::CutOut, || Ok(()))?,
            Kind::DiskFull => self.lost(How::Full, || Ok(()))?,
            Kind::OperatorKilled | Kind::OperatorsKilled => {
                let all = self.kind == Kind::OperatorsKilled;
                let killed = self.lost(How::Kill, || self.kill_operators(all, fault))?;
                // Else their containers would wait longer after each kill.
                self.stage.renew_operator()?;
                return Ok(Some(killed));
            }
            Kind::ApiserverAway => self.lost(How::Kill, || {
                self.pause("apiserver", 3000)?;
                self.away(&["kube-apiserver"], 3000 + self.dice.below("away", 4000))
            })?,
            Kind::HealsMidway => self.heals_midway(fault)?,
            Kind::ReturnsEarly => {
                self.regions().lose(self.primary.name, How::Kill)?;
                rest(500 + self.dice.below("return", 3500))?;
                self.regions().restore(self.primary.name)?;
            }
            Kind::Flap => self.flap()?,
            Kind::HeavyLoss => self.thinned(30)?,
            Kind::LightLoss => self.thinned(5)?,
            Kind::OperatorPrimaryCut => {
                self.parted(&[self.primary], &self.stage.operator_addresses()?)?;
            }
            Kind::OperatorIsolated => {
                let all: Vec<_> = REGIONS.iter().collect();
                self.parted(&all, &self.stage.operator_addresses()?)?;
            }
            Kind::ReplicationCut => {
                self.parted(&[self.primary], &[self.standby.address.to_string()])?;
            }
            Kind::StandbyKilled => {
                self.regions().lose(self.standby.name, How::Kill)?;
                rest(HOLD_MS)?;
                self.regions().restore(self.standby.name)?;
            }
            Kind::ControlPlaneAway => {
                kill_all(&processes(self.stage.space()));
                self.away(&["kube-apiserver", "etcd"], HOLD_MS)?;
                self.stage.renew_operator()?;
            }
            Kind::Switchover => self.switch_over()?,
        }
        Ok(None)
    }

    /// The primary is lost and something else happens meanwhile; tenants move, and the old primary
    /// comes back writable for a while.
    fn lost<T>(&self, how: How, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
        let fault = self.stage.lose(self.primary.name, how)?;
        let seen = meanwhile()?;
        self.stage
            .await_moved(self.watch, self.primary.name, fault)?;
        rest(AFTER_MS)?;
        self.stage.restore(self.primary.name)?;
        rest(RETURNED_MS)?;
        Ok(seen)
    }

    fn agents_frozen(&self, posts: &mut Posts) -> Result<()> {
        let agents = self.agents(posts)?;
        agents.freeze(true);
        let held = rest(STILL_MS);
        agents.freeze(false);
        held.and_then(|()| rest(HOLD_MS))
    }

    fn kill_agent(&self, posts: &mut Posts) -> Result<()> {
        self.agents(posts)?.kill_acting()
    }

    /// The agents beside the primary.
    fn agents<'p>(&self, posts: &'p mut Posts) -> Result<&'p mut Agents> {
        let name = self.primary.name;
        let none = || LabError::State(format!("{name} has no agents"));
        posts.get_mut(name).ok_or_else(none)
    }

    fn heals_midway(&self, fault: u64) -> Result<()> {
        let ways = [How::Cut, How::Freeze];
        let drawn = self.dice.below("way", 2) as usize;
        let how = ways.get(drawn).copied().unwrap_or(How::Cut);
        self.regions().lose(self.primary.name, how)?;
        let begun = ["Fencing", "CatchingUp", "Promoting"];
        let begins = |one: &Transition| one.at >= fault && begun.contains(&&*one.state);
        let waited = self
            .watch
            .wait("the move to begin", fault, REACTION_LIMIT, begins);
        rest(self.dice.below("heal", 150))?;
        self.regions().restore(self.primary.name)?;
        waited.map(drop)
    }

    fn flap(&self) -> Result<()> {
        for number in 0..FLAPS {
            self.regions().lose(self.primary.name, How::Cut)?;
            rest(2500 + self.dice.below(&format!("down {number}"), 3000))?;
            self.regions().restore(self.primary.name)?;
            rest(2000 + self.dice.below(&format!("up {number}"), 1000))?;
        }
        Ok(())
    }

    fn thinned(&self, percent: u8) -> Result<()> {
        self.regions().thin(self.primary.name, percent)?;
        let held = rest(HOLD_MS);
        self.regions().mend(self.primary.name)?;
        held
    }

    fn parted(&self, regions: &[&Region], from: &[String]) -> Result<()> {
        for region in regions {
            self.regions().part(region.name, from)?;
        }
        let held = rest(HOLD_MS);
        for region in regions {
            self.regions().mend(region.name)?;
        }
        held
    }

    /// Kills the leader, or all, as soon as the policy says a state of the move.
    fn kill_operators(&self, all: bool, since: u64) -> Result<Death> {
        let leader = leader(&self.stage.objects, self.stage.space())?;
        let drawn = self.dice.below("moment", MOMENTS.len() as u64) as usize;
        let state = MOMENTS.get(drawn).copied().unwrap_or("Fencing");
        let is = |one: &Transition| one.at >= since && one.state == state;
        self.watch
            .wait(&format!("the state {state}"), since, REACTION_LIMIT, is)?;
        if all {
            kill_all(&processes(self.stage.space()));
        } else {
            kill_all(&[leader]);
        }
        // What it had stored by then is still on its way here.
        rest(TOLD_MS)?;
        let last = self.watch.seen().pop();
        let state = last.map_or_else(|| state.to_owned(), |last| last.state);
        Ok(Death { state, all })
    }

    fn away(&self, servers: &[&str], milliseconds: u64) -> Result<()> {
        let cluster = self.stage.lab.cluster();
        let stopped = servers.iter().map(|name| cluster.process(name));
        let stopped = stopped.collect::<Result<Vec<_>>>()?;
        signal(&stopped, Signal::SIGSTOP);
        let held = rest(milliseconds);
        signal(&stopped, Signal::SIGCONT);
        held
    }

    /// Home is reached by a failback, any other region by a switchover.
    fn switch_over(&self) -> Result<()> {
        let policy = self.stage.policy()?;
        let home = policy["spec"]["primary"]["region"] == self.standby.name;
        let kind = if home { "Failback" } else { "Switchover" };
        let (operation, begun) = self.stage.operate(kind, self.standby.name, &[])?;
        self.stage.await_success(&operation)?;
        let moved = self
            .stage
            .await_moved(self.watch, self.primary.name, begun)?;
        let Moved { to, .. } = moved;
        if to != self.standby.name {
            return Err(LabError::State(format!("it moved to {to}")));
        }
        rest(RETURNED_MS)
    }

    fn cooldown(&self, seconds: u64) -> Result<()> {
        let policy = self.stage.policy()?;
        if policy["spec"]["damping"]["cooldownSeconds"] == seconds {
            return Ok(());
        }
        let damping = json!({"damping": {"cooldownSeconds": seconds}});
        self.stage.change_policy(&damping)
    }

    fn pause(&self, what: &str, below: u64) -> Result<()> {
        rest(self.dice.below(what, below))
    }

    fn regions(&self) -> &crate::regions::Regions {
        self.stage.lab.regions()
    }
}

/// Lets time pass. Errors: the user interrupted.
pub(super) fn rest(milliseconds: u64) -> Result<()> {
    let until = monotonic()? + milliseconds * 1_000_000;
    while monotonic()? < until {
        if interrupted() {
            return Err(LabError::Interrupted);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
