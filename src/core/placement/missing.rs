//! What is done where a tenant's database is not on its server.

/// What is known of a tenant whose database is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not states"
)]
pub struct Missing {
    /// It takes over a database that somebody else made.
    pub adopts: bool,
    /// It was served before.
    pub had: bool,
    /// From this server, under this epoch.
    pub here: bool,
    /// That it is missing was told before.
    pub told: bool,
    /// A person asks for an empty one.
    pub asked: bool,
}

impl Missing {
    /// Whether an empty one is made: for a new tenant; for one that was moved, as what that lost
    /// was accepted with it, unless the loss is older; and whenever a person asks for it.
    pub fn is_made(&self) -> bool {
        let lost_by_a_move = self.had && !self.here && !self.told;
        self.asked || !self.adopts && (!self.had || lost_by_a_move)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Missing = Missing {
        adopts: false,
        had: false,
        here: false,
        told: false,
        asked: false,
    };

    #[test]
    fn what_a_tenant_had_is_not_made_again_in_silence() {
        let served = Missing {
            had: true,
            here: true,
            ..NEW
        };
        let moved = Missing {
            here: false,
            ..served
        };
        assert!(NEW.is_made());
        assert!(!served.is_made());
        assert!(moved.is_made());
        for known in [served, moved].map(|known| Missing {
            told: true,
            ..known
        }) {
            assert!(!known.is_made(), "{known:?}");
        }
    }

    #[test]
    fn who_adopts_gets_none_unless_a_person_asks() {
        for had in [false, true] {
            let adopts = Missing {
                adopts: true,
                had,
                ..NEW
            };
            assert!(!adopts.is_made());
            let asked = Missing {
                asked: true,
                ..adopts
            };
            assert!(asked.is_made());
        }
    }
}
