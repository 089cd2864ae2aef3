use super::*;

#[test]
fn a_secret_that_outlasts_a_move_does_not_tell_who_serves() {
    let database = database();
    let lasting = Connection {
        serving_key: None,
        ..facts(&database, None)
    };
    let rendered = render(&lasting).unwrap();
    assert_eq!(value(&rendered, "DATABASE_REGION"), "EU_WEST");
    for key in ["REGION_HEADER_NAME", "REGION_HEADER_VALUE"] {
        assert!(!rendered.data.contains_key(key), "{key}");
    }
}
