//! `latchkey users update`, and the operator's name in the audit trail.

use serde_json::json;

use latchkey_testkit::{Backend, PASSWORD, Place, on_both_backends};

on_both_backends! {
    async fn update_of_a_user_changes_the_given_fields_and_is_audited(backend: Backend) {
        let place = Place::on(backend).await.with("LATCHKEY_OPERATOR", "grace");
        place.user("ada", PASSWORD);
        place.run_with_input("users create bob --password-stdin --email bob@example.com", PASSWORD).done();
        let server = place.serve("");
        let pair = server.pair("ada", PASSWORD).await;
        let changed = place.run("users update ADA --first-name Ada --last-name Lovelace --email ada@example.com --staff");
        assert_eq!(changed.done(), "changed ada: email, first_name, last_name, is_staff\n");
        let shown = place.run("users show ada --json").json();
        for (name, value) in [
            ("email", json!("ada@example.com")),
            ("first_name", json!("Ada")),
            ("last_name", json!("Lovelace")),
            ("is_staff", json!(true)),
            ("is_active", json!(true)),
        ] {
            assert_eq!(shown[name], value, "{name}");
        }
        let id = shown["id"].as_str().unwrap();
        assert_eq!(place.run(&format!("users show {id} --json")).json(), shown, "found by its id");
        assert_eq!(place.run("users update ada --staff").done(), "ada has these values already: nothing was changed\n");
        assert_eq!(place.run("users update ada --no-staff").done(), "changed ada: is_staff\n");
        let names = place.run_with_arguments("users update ada", &["--first-name", "Ada Am\u{e9}lie", "--last-name", "", "--email", ""], "");
        assert_eq!(names.done(), "changed ada: email, first_name, last_name\n");
        let shown = place.run("users show ada --json").json();
        assert_eq!((&shown["first_name"], &shown["last_name"], &shown["email"]), (&json!("Ada Am\u{e9}lie"), &json!(""), &json!("")));
        place.run_with_input("users create eve --password-stdin --email ada@example.com", PASSWORD).done();
        let taken = place.run("users update ada --email BOB@example.com");
        assert_eq!(taken.refused(1), "a user with that e-mail address already exists");
        assert_eq!(server.verify(&pair.access).await.status, 200, "no session ends");
        server.refresh(&pair.refresh).await.pair();

        let trail = place.run("audit --event user_updated --json").done().to_owned();
        let events: Vec<serde_json::Value> = trail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let fields: Vec<_> = events.iter().map(|event| event["details"]["fields"].as_str().unwrap()).collect();
        assert_eq!(fields, ["email,first_name,last_name,is_staff", "is_staff", "email,first_name,last_name"]);
        assert!(events.iter().all(|event| event["actor"] == "operator grace" && event["user"] == id), "{trail}");
        assert!(!trail.contains("Lovelace") && !trail.contains("example.com"), "{trail}");
    }
}

#[test]
fn empty_or_invalid_update_of_a_user_is_refused() {
    let place = Place::new();
    place.user("ada", PASSWORD);
    assert_eq!(
        place.run("users update nobody --staff").refused(1),
        "there is no user nobody"
    );
    assert_eq!(place.run("users update ada").code, Some(2));
    assert_eq!(
        place.run("users update ada --staff --no-staff").code,
        Some(2)
    );
    let long = "x".repeat(151);
    for (flag, value) in [
        ("--first-name", long.as_str()),
        ("--last-name", "a\u{202e}b"),
        ("--first-name", "a\nb"),
        ("--email", "nonsense"),
    ] {
        let outcome = place.run_with_arguments("users update ada", &[flag, value], "");
        assert!(
            outcome.refused(2).starts_with(&format!("{flag} is ")),
            "{outcome:?}"
        );
    }
}

#[test]
fn operator_is_named_by_flag_setting_or_environment() {
    let by = |place: &Place| {
        let out = place
            .run("audit --json --event user_created")
            .done()
            .to_owned();
        let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        last["actor"].as_str().unwrap().to_owned()
    };
    let place = Place::new();
    place.user("one", PASSWORD);
    assert_eq!(by(&place), "operator");
    place
        .run_with_input("users create two --password-stdin --operator eve", PASSWORD)
        .done();
    assert_eq!(by(&place), "operator eve");
    place.write(".env", "LATCHKEY_OPERATOR=grace\n");
    let quiet = place.run_with_input("users create three --password-stdin", PASSWORD);
    assert_eq!(quiet.code, Some(0), "{quiet:?}");
    let _ = std::fs::remove_file(place.path(".env"));
    assert_eq!(by(&place), "operator grace");
    let place = place.with("USER", "linus").with("LATCHKEY_OPERATOR", " ");
    place.user("four", PASSWORD);
    assert_eq!(by(&place), "operator linus");
}
