use super::*;

#[test]
fn a_service_is_named_after_the_secret() {
    assert_eq!(service_name("acme-db").unwrap(), "acme-db-rw");
    assert_eq!(
        service_host("acme-db-rw", "tenant-acme"),
        "acme-db-rw.tenant-acme.svc"
    );
    for bad in ["a.b", "1a", "-a", "A", &"a".repeat(61)] {
        let error = service_name(bad).unwrap_err();
        assert!(error.to_string().contains("at most 63"), "{error}");
    }
    assert!(service_name(&"a".repeat(60)).is_ok());
}

#[test]
fn an_address_is_translated_and_a_name_is_not() {
    let address = Lead::to("10.0.0.1", 6000);
    assert_eq!(address.published_port(), PORT);
    let address = Lead::to("fd00::1", 6000);
    assert!(matches!(address, Lead::Address { .. }));
    let name = Lead::to("PG.example.net", 6000);
    assert_eq!(name.published_port(), 6000);
    let expected = Lead::Alias {
        name: "pg.example.net".into(),
        port: 6000,
    };
    assert_eq!(name, expected);
}

#[test]
fn authorities_are_the_same_text_whoever_serves() {
    assert_eq!(authorities(["A\n", "B", "A"]), ("A\nB\n".to_owned(), 2));
    assert_eq!(authorities(["A\n"]), ("A\n".to_owned(), 1));
}

#[test]
fn a_template_that_carries_one_authority_is_known() {
    assert!(carries_one_authority("{{ rw.datasource-url }}"));
    assert!(carries_one_authority(
        "{{rw.datasource-url-file}} {{ ro.datasource-url }}"
    ));
    assert!(!carries_one_authority("{{ rw.datasource-url-file }}"));
    assert!(!carries_one_authority("{{ rw.uri }}"));
}

#[test]
fn what_cannot_work_is_not_published_and_what_works_is_not_taken_away() {
    let lacks = || {
        Some(Fault::Name {
            server: ServerId::new("eu", "main"),
            fact: "x".into(),
        })
    };
    assert_eq!(decide(Before::Nothing, None), Decision::Asked);
    assert_eq!(decide(Before::Direct, None), Decision::Asked);
    let refused = decide(Before::Nothing, lacks());
    assert!(matches!(refused, Decision::Refuse(_)));
    let stays = decide(Before::Direct, lacks());
    assert!(matches!(stays, Decision::StayDirect(_)));
    assert_eq!(decide(Before::Asked, lacks()), Decision::Asked);
}

#[test]
fn a_server_that_was_not_asked_lacks_nothing() {
    let server = |name: &str| ServerId::new(name, "main");
    let lacks = Certificate::Lacks("x".into());
    let found = [
        (server("a"), Certificate::Carries),
        (server("b"), Certificate::Unknown),
    ];
    assert_eq!(nameless(&found), None);
    let found = [(server("a"), Certificate::Unknown), (server("b"), lacks)];
    let Some(Fault::Name { server: of, .. }) = nameless(&found) else {
        panic!("b lacks the name");
    };
    assert_eq!(of, server("b"));
}
