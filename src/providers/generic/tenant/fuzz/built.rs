//! Every statement that is built from names, by the functions that build what is executed.

use std::collections::{BTreeMap, BTreeSet};

use domicile_core::facts::{Authority, Epoch, Heartbeat};
use domicile_core::names::{Access, DatabaseName, Slot, quote_identifier};
use domicile_core::time::Mono;
use secrecy::SecretString;

use super::super::adopt::{Found, found_sql, marked};
use super::super::beyond::{
    Leaving, bound_sql, disowned, elsewhere, on_login_sql, owners_sql, things_sql,
};
use super::super::blockers::{Blocker, Kind, freed, looking};
use super::super::change::Change;
use super::super::drop::{closing, dropped, gate, gone, joining};
use super::super::effects::{full_sql, sessions_sql, standing_sql};
use super::super::extensions::{Offer, Offers, missing, offers_sql};
use super::super::inside::{Inside, SchemaState, inside, inside_sql, traps_sql};
use super::super::plan::{Next, closed, differences, opened, outside};
use super::super::relaxed::Relaxed;
use super::super::state::{DatabaseState, RoleState, State, outside_sql};
use super::super::{TenantPlan, logins};
use super::names::{Random, database, hostile};
use crate::generic::authority::{beat_sql, set_row};
use crate::generic::logins::{at_once_sql, one_sql};
use crate::generic::promotion::names_sql;
use crate::generic::release::rolled_back;
use crate::scram::Verifier;

/// Texts of one spec that are not the database's name.
const TEXTS: usize = 16;

/// Names that no role of a server can have, quoted or not.
const NO_ROLE: [&str; 2] = ["none", "public"];

/// One tenant, with all that statements about it are built from.
pub(super) struct Case {
    plan: TenantPlan,
    texts: Vec<String>,
    number: u32,
}

impl Case {
    /// Names that harm nobody and occur nowhere else.
    pub(super) fn plain() -> Self {
        let texts = (0..TEXTS).map(|n| format!("zz_{n:02}")).collect();
        Self::of("zz_db", texts, 777_777)
    }

    pub(super) fn hostile(random: &mut Random, refused: &mut u64) -> Self {
        let mut name = database(random);
        while DatabaseName::parse(&name).is_err() {
            *refused += 1;
            name = database(random);
        }
        let mut texts: Vec<String> = Vec::new();
        while texts.len() < TEXTS {
            let mut text = hostile(random);
            if NO_ROLE.contains(&clean(&text).as_str()) {
                text.push('_');
            }
            // Equal texts are one name; the plain tenant's are all different.
            if texts.iter().all(|other| clean(other) != clean(&text)) {
                texts.push(text);
            }
        }
        let number = 1 + random.below(i32::MAX as usize) as u32;
        Self::of(&name, texts, number)
    }

    fn of(name: &str, texts: Vec<String>, number: u32) -> Self {
        let extensions = texts[3..5].to_vec();
        let plan = TenantPlan {
            uid: texts[0].clone(),
            database: DatabaseName::parse(name).unwrap(),
            access: vec![(Access::ReadWrite, number)],
            idle: None,
            schemas: texts[1..3].to_vec(),
            extensions,
            unlisted: BTreeSet::new(),
            keeps: false,
            makes: true,
        };
        Self {
            plan,
            texts,
            number,
        }
    }

    /// What stands in this tenant's statements where something of `plain` stands in its own.
    pub(super) fn instead_of(&self, plain: &Self) -> BTreeMap<String, String> {
        let mut names: BTreeMap<_, _> = plain.all().into_iter().zip(self.all()).collect();
        names.insert(plain.number.to_string(), self.number.to_string());
        names
    }

    fn all(&self) -> Vec<String> {
        let database = &self.plan.database;
        let mut all: Vec<String> = self.texts.iter().map(|text| clean(text)).collect();
        all.extend([database.owner(), database.reader(), self.plan.marker()]);
        all.push(format!("role={}", database.owner()));
        all.push(quote_identifier(&self.texts[15]));
        all.extend(logins(database).map(|(_, _, login)| login));
        all
    }
}

/// NUL can be part of no name and no text of PostgreSQL.
fn clean(text: &str) -> String {
    text.replace('\0', "")
}

/// Each statement with a label. `asked` adds the questions, which are long.
pub(super) fn built(case: &Case, asked: bool) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |label: &str, statements: Vec<String>| {
        let labelled = statements.into_iter().enumerate();
        all.extend(labelled.map(|(n, sql)| (format!("{label} {n}"), sql)));
    };
    add("from nothing", of(next(&case.plan, &State::default())));
    add("database", of(next(&case.plan, &roles_only(case))));
    add("all wrong", of(differences(&case.plan, &all_wrong(case))));
    let (verifiers, closed_state) = (verifiers(case), without_passwords(case));
    add("open", of(opened(&case.plan, &closed_state, &verifiers)));
    add("close", closed(&case.plan, Slot::A, &all_wrong(case)));
    add(
        "inside",
        of(inside(&case.plan, &nothing_inside(case)).changes),
    );
    let (making, _) = missing(&case.plan, &offers(case));
    add("extension", making.into_iter().map(|one| one.sql).collect());
    add("adopt", adopting(case));
    add("drop", dropping(case));
    add("server", server(case));
    if asked {
        add("asking", questions(case));
    }
    all
}

fn of(changes: Vec<Change>) -> Vec<String> {
    changes.into_iter().flat_map(|change| change.sql).collect()
}

fn next(plan: &TenantPlan, state: &State) -> Vec<Change> {
    match outside("server", plan, state).unwrap() {
        Next::Transaction(changes) => changes,
        Next::Alone(change) => vec![change],
        Next::Nothing => Vec::new(),
    }
}

fn role(case: &Case) -> RoleState {
    RoleState {
        marker: Some(case.plan.marker()),
        limit: i64::from(case.number),
        in_owner: true,
        ours_to_use: true,
        acts_as_owner: true,
        ..RoleState::default()
    }
}

/// All roles are there, and nothing else.
fn roles_only(case: &Case) -> State {
    let mut names = vec![case.plan.database.owner(), case.plan.database.reader()];
    names.extend(logins(&case.plan.database).map(|(_, _, login)| login));
    State {
        major: 18,
        roles: names.into_iter().map(|name| (name, role(case))).collect(),
        ..State::default()
    }
}

fn without_passwords(case: &Case) -> State {
    let mut state = roles_only(case);
    let other = case.plan.database.login(Access::ReadWrite, Slot::B);
    if let Some(other) = state.roles.get_mut(&other) {
        other.credentialed = true;
    }
    state
}

fn verifiers(case: &Case) -> BTreeMap<(Access, Slot), Verifier> {
    // A verifier has a fixed alphabet; even one that has not is only ever a literal.
    let verifier = Verifier::raw(SecretString::from(case.texts[5].clone()));
    BTreeMap::from([((Access::ReadWrite, Slot::A), verifier)])
}

/// Everything is there, and nothing of it as planned.
fn all_wrong(case: &Case) -> State {
    let mut state = roles_only(case);
    for role in state.roles.values_mut() {
        let marker = role.marker.take();
        *role = RoleState {
            marker,
            can_log_in: true,
            reader_revocable: true,
            owner_revocable: true,
            ..RoleState::default()
        };
    }
    let login = case.plan.database.login(Access::ReadWrite, Slot::A);
    state.relaxed = vec![
        Relaxed::Database(case.plan.database.to_string()),
        Relaxed::Role {
            role: login.clone(),
            within: None,
        },
        Relaxed::Role {
            role: login,
            within: Some(case.texts[8].clone()),
        },
    ];
    state.database = Some(DatabaseState {
        owner: case.plan.database.owner(),
        owner_marker: Some(case.plan.marker()),
        comment: Some("x".into()),
        limit: 0,
        template: true,
        public_has_rights: true,
        strangers: case.texts[6..8].to_vec(),
        ..DatabaseState::default()
    });
    state
}

fn nothing_inside(case: &Case) -> Inside {
    let state = SchemaState {
        owner: case.plan.database.owner(),
        reader_uses: false,
    };
    Inside {
        public_has_rights: true,
        reader_locked_out: true,
        unreadable: vec![(case.texts[8].clone(), case.texts[9].clone())],
        schemas: BTreeMap::from([(case.plan.schemas[1].clone(), state)]),
        ..Inside::default()
    }
}

/// All extensions can be made, and none is there.
fn offers(case: &Case) -> Offers {
    let offer = Offer {
        trusted: true,
        ..Offer::default()
    };
    let names = case.plan.extensions.iter().cloned();
    Offers {
        known: names.map(|name| (name, offer.clone())).collect(),
        has_public: true,
    }
}

fn adopting(case: &Case) -> Vec<String> {
    let found = Found {
        owner: case.plan.database.owner(),
        left: vec![case.texts[12].clone()],
        ..Found::default()
    };
    marked(&case.plan, &found, 18)
}

fn dropping(case: &Case) -> Vec<String> {
    let blocker = |kind, name: &String| Blocker {
        kind,
        name: name.clone(),
        holder: case.plan.database.owner(),
        database: case.plan.database.to_string(),
        slot: None,
    };
    // Whatever they are called: these are only ever roles of the tenant.
    let roles = [case.texts[12].as_str(), case.texts[13].as_str()];
    [
        freed(&blocker(Kind::Transaction, &case.texts[10])),
        freed(&blocker(Kind::Subscription, &case.texts[11])),
        joining(&roles, 18),
        closing(&roles),
        gate(&case.plan, true),
        gate(&case.plan, false),
        vec![dropped(&case.plan), disowned(&roles)],
        gone(&roles),
    ]
    .concat()
}

fn server(case: &Case) -> Vec<String> {
    let number = i64::from(case.number);
    let epoch = Epoch(number);
    let row = Authority {
        epoch,
        writable: true,
    };
    let beat = Heartbeat {
        sequence: number,
        leader: case.texts[14].clone(),
        at: Mono(number as u64),
        epoch,
    };
    vec![
        set_row(row),
        one_sql(&case.texts[12], false),
        at_once_sql(&[&case.texts[12], &case.texts[13]], true),
        beat_sql(&beat),
        names_sql(&quote_identifier(&case.texts[15])),
        rolled_back(&case.texts[10]),
    ]
}

fn questions(case: &Case) -> Vec<String> {
    let roles = [case.texts[12].as_str(), case.texts[13].as_str()];
    let leaving = Leaving {
        roles: &roles,
        own: Some(&case.plan.database),
    };
    vec![
        outside_sql(&case.plan, 18),
        inside_sql(&case.plan),
        offers_sql(&case.plan),
        sessions_sql(&case.plan, Slot::A),
        full_sql(&case.texts[12]),
        standing_sql(&case.plan.database),
        looking(&case.plan, &roles),
        things_sql(&leaving),
        elsewhere(&leaving, false),
        elsewhere(&leaving, true),
        owners_sql(&roles),
        bound_sql(&roles, false),
        bound_sql(&roles, true),
        on_login_sql(case.plan.database.as_str()),
        traps_sql(),
        found_sql(&case.plan, 18),
    ]
}
