use super::*;

#[test]
fn the_region_variables_name_the_home_and_the_header_names_who_serves() {
    let database = database();
    let rendered = render(&facts(&database, None)).unwrap();
    assert_eq!(value(&rendered, "DATABASE_REGION"), "EU_WEST");
    assert_eq!(value(&rendered, "REGION_HEADER_NAME"), "X-Region");
    assert_eq!(value(&rendered, "REGION_HEADER_VALUE"), "EU_CENTRAL");
    let without = Connection {
        region_env: false,
        ..facts(&database, None)
    };
    let rendered = render(&without).unwrap();
    assert!(!rendered.data.contains_key("DATABASE_REGION"));
    assert!(!rendered.variables.contains("REGION_HEADER_VALUE"));
}

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
