//! Tenants' clients: each follows a Secret that it sees late, and keeps its session while it lasts.

use domicile_core::facts::{Epoch, Role};

use super::database::Waiting;
use super::{Event, World};
use crate::chance::Who;
use crate::fault::{Ms, Place};
use crate::setup::Setup;

/// Between two writes of one client.
const PACE: Ms = 400;

#[derive(Debug)]
pub(crate) struct Client {
    pub place: Place,
    /// How late a change of the Secret reaches it.
    pub delay: Ms,
    /// The server that its Secret names, as far as it knows.
    pub target: usize,
    pub epoch: Epoch,
    /// When it was last told that a write is safe, and by which server.
    pub acknowledged: Option<(Ms, usize)>,
}

pub(crate) fn all(setup: &Setup) -> Vec<Client> {
    let places = [Place::Inside(0), Place::Inside(1), Place::Outside];
    let client = |(place, delay): (Place, Ms)| Client {
        place,
        delay,
        target: 0,
        epoch: Epoch(1),
        acknowledged: None,
    };
    places.into_iter().zip(setup.delays).map(client).collect()
}

impl World {
    /// The Secret changed: clients see it in their own time.
    pub(crate) fn publish(&mut self, region: usize, epoch: Epoch) {
        for client in 0..self.clients.len() {
            let at = self.now + self.clients[client].delay;
            self.push(at, Event::View(client, region, epoch));
        }
    }

    pub(crate) fn client_sees(&mut self, client: usize, region: usize, epoch: Epoch) {
        let it = &mut self.clients[client];
        if epoch < it.epoch {
            return;
        }
        let before = it.target;
        (it.target, it.epoch) = (region, epoch);
        // The pod is replaced, and its sessions end where a way leads there.
        if before != region && self.reaches(client, before) {
            self.servers[before].sessions.remove(&client);
            self.servers[before]
                .waiting
                .retain(|waiting| waiting.client != client);
        }
    }

    /// A client reaches the server of its own region whatever else is cut.
    fn reaches(&self, client: usize, server: usize) -> bool {
        let (place, there) = (self.clients[client].place, Place::Server(server));
        place == Place::Inside(server) || self.net.both(place, there)
    }

    pub(crate) fn client_writes(&mut self, client: usize) {
        let pace = PACE + self.chance.below(Who::Client(client), 200);
        self.push(self.now + pace, Event::Write(client));
        let at = self.clients[client].target;
        let reaches = self.reaches(client, at);
        let server = &self.servers[at];
        let has_session = server.sessions.contains(&client);
        if !reaches || !server.running {
            return;
        }
        if server.frozen_until > self.now {
            // What was sent over an open session is read when the server goes on.
            return;
        }
        // Who waits for the answer to one write does not send another.
        let waits = server
            .waiting
            .iter()
            .any(|waiting| waiting.client == client);
        if waits || !(has_session || server.row().writable) {
            return;
        }
        self.servers[at].sessions.insert(client);
        if self.servers[at].role == Role::Standby {
            return;
        }
        let (id, commit) = (self.new_id(), self.new_commit());
        let position = self.servers[at].append(id, |entry| entry.commit = Some(commit));
        if self.servers[at].names.is_none() {
            self.acknowledge(at, commit, client);
        } else {
            let waiting = Waiting {
                position,
                commit,
                client,
            };
            self.servers[at].waiting.push(waiting);
        }
    }

    pub(crate) fn acknowledge(&mut self, at: usize, commit: u32, client: usize) {
        self.clients[client].acknowledged = Some((self.now, at));
        let declared = self.relaxed_unseen(at);
        let server = &self.servers[at];
        self.checks.acknowledges(self.now, server, commit, declared);
    }
}
