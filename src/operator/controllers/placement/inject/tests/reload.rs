use super::*;

#[test]
fn where_the_secret_leads_is_told_on_the_workload_and_rolls_nothing() {
    let variables = variables();
    let first = wanted(&variables, &[]);
    let live = applied(plain(), &document_for(&plain(), &first));
    assert_eq!(origin(&live), Some(from("eu-west", 1)));
    assert_eq!(origin(&plain()), None);
    let next = from("eu-west", 2);
    let next = Wanted {
        origin: &next,
        ..first
    };
    assert!(!rolls(&live, &next));
    assert!(rolls(&live, &Wanted { hash: "h2", ..next }));
}

#[test]
fn only_a_rolling_restart_puts_the_hash_on_the_pods() {
    let variables = variables();
    let first = wanted(&variables, &[]);
    let with = |reload, hash| Wanted {
        hash,
        reload,
        ..first
    };
    let hashes = |document: &Value| {
        let of = |document: &Value| document["annotations"][meta::SECRET_HASH].clone();
        (
            of(&document["metadata"]),
            of(&document["spec"]["template"]["metadata"]),
        )
    };
    let annotation = with(ReloadStrategy::Annotation, "h1");
    let document = document_for(&plain(), &annotation);
    assert_eq!(hashes(&document), (json!("h1"), Value::Null));
    let live = applied(plain(), &document);
    assert_eq!(
        decide(&live, KIND, &annotation, &|_| true),
        Decision::Settled
    );
    assert!(!rolls(&live, &with(ReloadStrategy::Annotation, "h2")));
    let none = with(ReloadStrategy::None, "h2");
    let document = document_for(&live, &none);
    assert_eq!(hashes(&document), (Value::Null, Value::Null));
    assert!(!rolls(&live, &none));
    assert!(rolls(&live, &with(ReloadStrategy::RollingRestart, "h2")));

    let live = applied(plain(), &document_for(&plain(), &first));
    let document = document_for(&live, &with(ReloadStrategy::Annotation, "h2"));
    assert_eq!(
        hashes(&document),
        (json!("h2"), json!("h1")),
        "what is there stays"
    );
    assert_eq!(decide(&live, KIND, &none, &|_| true), Decision::Settled);
}
