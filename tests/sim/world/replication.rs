//! Streaming: once per tick a standby receives, confirms and replays.

use domicile_core::facts::Role;

use super::database::{PATIENCE, Stream};
use super::{Event, World};
use crate::chance::Who;
use crate::fault::{Ms, Place};

const TICK: Ms = 100;

impl World {
    pub(crate) fn stream(&mut self, at: usize) {
        let next = TICK + self.chance.below(Who::Server(at), 20);
        self.push(self.now + next, Event::Stream(at));
        let it = &self.servers[at];
        if !it.answers(self.now) || it.role == Role::Primary {
            self.checks.streams(self.now, at, false);
            return;
        }
        if let Some(upstream) = it.upstream {
            if self.servers[at].stream.is_none() {
                self.connect(at, upstream);
            } else {
                self.receive(at, upstream);
            }
        }
        let whole = self.servers[at]
            .stream
            .is_some_and(|s| self.now - s.heard <= PATIENCE + 400);
        self.checks.streams(self.now, at, whole);
        let it = &mut self.servers[at];
        if it.paused_until <= self.now {
            it.replayed = it.log.len();
        }
    }

    fn connect(&mut self, at: usize, upstream: usize) {
        let (it, from) = (&self.servers[at], &self.servers[upstream]);
        let reaches = self.net.both(Place::Server(at), Place::Server(upstream));
        let fits =
            from.role == Role::Primary && from.timeline == it.timeline && it.is_part_of(from);
        if !(reaches && from.answers(self.now) && fits) {
            return;
        }
        let (now, held) = (self.now, it.log.len());
        self.servers[at].stream = Some(Stream { heard: now });
        self.servers[upstream].confirmed[at] = (held, Some(now));
    }

    fn receive(&mut self, at: usize, upstream: usize) {
        let (here, there) = (Place::Server(at), Place::Server(upstream));
        let (comes, goes) = (self.net.open(there, here), self.net.open(here, there));
        let from = &self.servers[upstream];
        let ended = !from.running || from.role == Role::Standby;
        let Some(stream) = self.servers[at].stream else {
            return;
        };
        let silent = self.now - stream.heard;
        if (ended && comes) || silent > 2 * PATIENCE {
            self.servers[at].stream = None;
            return;
        }
        let lost = self.net.percent_lost(there, here);
        let lost = lost > 0 && self.chance.percent(Who::Link(10 + at), lost);
        if ended || !comes || lost || !from.answers(self.now) {
            return;
        }
        let held = self.servers[at].log.len();
        let new = from.log.get(held..).unwrap_or_default().to_vec();
        // A live stream says nothing while there is nothing to say, until it is asked.
        if !new.is_empty() || silent >= PATIENCE {
            self.servers[at].stream = Some(Stream { heard: self.now });
        }
        self.servers[at].log.extend(new);
        if goes {
            // What was held before this tick was flushed, and the word of it arrives now.
            self.servers[upstream].confirmed[at] = (held, Some(self.now));
            self.release(upstream, at);
        }
    }

    /// Commits that the synchronous standby confirmed are acknowledged.
    fn release(&mut self, at: usize, standby: usize) {
        let server = &mut self.servers[at];
        if server.names != Some(standby) {
            return;
        }
        let reached = server.confirmed[standby].0;
        let done: Vec<_> = server
            .waiting
            .iter()
            .filter(|w| w.position <= reached)
            .copied()
            .collect();
        server.waiting.retain(|w| w.position > reached);
        for waiting in done {
            self.acknowledge(at, waiting.commit, waiting.client);
        }
    }
}
