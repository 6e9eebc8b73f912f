//! Passwords from standard input: a user can sign in with each password that was accepted.

use latchkey_testkit::Place;

const OLD: &str = "correct horse battery staple";

fn utf16(text: &str, unit: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

#[tokio::test]
async fn password_that_was_accepted_signs_in() {
    let (longest, wide) = ("x".repeat(1024), "é".repeat(512));
    let (marked, line) = ("\u{feff}pass wörd\r\n", "pass wörd\r\nnext line");
    let place = Place::new();
    place.user("ada", OLD);
    let server = place.serve("");
    for (input, password) in [
        (marked.as_bytes().to_vec(), "pass wörd"),
        (utf16(marked, u16::to_le_bytes), "pass wörd"),
        (utf16(marked, u16::to_be_bytes), "pass wörd"),
        (
            utf16(&format!("\u{feff}{line}"), u16::to_le_bytes),
            "pass wörd",
        ),
        // Other characters contain the bytes of the line break.
        (
            utf16(
                "\u{feff}\u{0a0a}\u{0a05}\u{0a0a} letters\n",
                u16::to_be_bytes,
            ),
            "\u{0a0a}\u{0a05}\u{0a0a} letters",
        ),
        (line.as_bytes().to_vec(), "pass wörd"),
        (
            b"  blanks at both ends  \n".to_vec(),
            "  blanks at both ends  ",
        ),
        (b"a\ttab and a \x07 bell".to_vec(), "a\ttab and a \x07 bell"),
        (longest.clone().into_bytes(), &longest),
        (format!("\u{feff}{longest}\r\n").into_bytes(), &longest),
        (
            utf16(&format!("\u{feff}{wide}\r\n"), u16::to_le_bytes),
            &wide,
        ),
        (
            utf16(&format!("\u{feff}{longest}\r\n"), u16::to_le_bytes),
            &longest,
        ),
    ] {
        let shown = input[..input.len().min(40)].escape_ascii().to_string();
        let set = place.run_with_bytes("users set-password ada --password-stdin", &input);
        assert_eq!(set.code, Some(0), "{shown}: {set:?}");
        assert_eq!(server.obtain("ada", password).await.status, 200, "{shown}");
    }
    let created = place.run_with_bytes(
        "users create bob --password-stdin",
        &utf16(marked, u16::to_le_bytes),
    );
    assert_eq!(created.code, Some(0), "{created:?}");
    server.pair("bob", "pass wörd").await;
}

#[tokio::test]
async fn password_that_no_sign_in_accepts_is_refused_and_changes_nothing() {
    let place = Place::new();
    place.user("ada", OLD);
    let long = "x".repeat(1025);
    for (input, reason) in [
        (b"          \n".to_vec(), "a password may not be blank"),
        (
            "\u{3000}\u{a0}\u{2003}\u{1680}\u{2028}\u{2029}\u{85}\u{1f}\u{1c}"
                .to_owned()
                .into_bytes(),
            "a password may not be blank",
        ),
        (
            b"with a \0 inside".to_vec(),
            "a password may not contain NUL characters",
        ),
        (
            utf16("no mark of UTF-16\r\n", u16::to_le_bytes),
            "a password may not contain NUL characters",
        ),
        (
            "\u{feff}short\r\n".to_owned().into_bytes(),
            "a password has at least 8 characters",
        ),
        (
            b"\xef\xbb\xbf\r\n".to_vec(),
            "a password has at least 8 characters",
        ),
        (long.into_bytes(), "a password has at most 1024 bytes"),
        (
            "é".repeat(513).into_bytes(),
            "a password has at most 1024 bytes",
        ),
        (
            b"\xff\xfea".to_vec(),
            "the password cannot be read: it is not UTF-8",
        ),
        (
            b"latin 1: caf\xe9 \n".to_vec(),
            "the password cannot be read: it is not UTF-8",
        ),
    ] {
        for words in [
            "users set-password ada --password-stdin",
            "users create bob --password-stdin",
        ] {
            assert_eq!(
                place.run_with_bytes(words, &input).refused(1),
                reason,
                "{}",
                input.escape_ascii()
            );
        }
    }
    let many = "x".repeat(1 << 16);
    let outcome = place.run_with_input("users set-password ada --password-stdin", &many);
    assert!(
        outcome.refused(1).contains("holds more than 1024 bytes"),
        "{outcome:?}"
    );
    place.serve("").pair("ada", OLD).await;
    assert!(
        place
            .run("users show bob")
            .refused(1)
            .contains("no user bob")
    );
}

#[test]
fn username_with_a_byte_order_mark_is_refused() {
    let outcome =
        Place::new().run_with_arguments("users create", &["\u{feff}ada", "--password-stdin"], OLD);
    assert!(
        outcome
            .refused(2)
            .contains("an invisible character (U+FEFF)"),
        "{outcome:?}"
    );
}
