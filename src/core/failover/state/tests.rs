use super::State;

#[test]
fn there_are_thirteen_states_and_an_unknown_one_is_none() {
    assert_eq!(State::ALL.len(), 13);
    assert!(
        State::ALL
            .iter()
            .all(|s| State::parse(s.as_str()) == Some(*s))
    );
    assert_eq!(State::parse("steady"), None);
}
