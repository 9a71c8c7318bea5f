//! What is admitted and sent.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use base64::Engine as _;
use http::{HeaderMap, HeaderValue};

use super::{Basic, Bearer};
use crate::config::section::read_text;

fn bearer(yaml: &str) -> (Option<Bearer>, Vec<String>) {
    let (bearer, problems) = read_text("c.yaml", yaml, Bearer::read);
    (bearer, problems.iter().map(ToString::to_string).collect())
}

fn basic(yaml: &str) -> (Option<Basic>, Vec<String>) {
    let (basic, problems) = read_text("c.yaml", yaml, Basic::read);
    (basic, problems.iter().map(ToString::to_string).collect())
}

fn with(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::try_from(value).unwrap())])
}

#[test]
fn a_token_is_admitted_as_the_scheme_and_nothing_else() {
    let bearer = bearer("tokens: [abc, defg]").0.unwrap();
    for (value, admitted) in [
        ("Bearer abc", true),
        ("bearer defg", true),
        ("Bearer abcd", false),
        ("Bearer ab", false),
        ("Bearer  abc", false),
        ("Bearer ", false),
        ("Bearer", false),
        ("Basic abc", false),
        ("abc", false),
        ("", false),
    ] {
        assert_eq!(bearer.admits(&with("authorization", value)), admitted, "{value}");
    }
    assert!(!bearer.admits(&with("x-token", "Bearer abc")));
    assert!(!bearer.admits(&HeaderMap::new()));
}

#[test]
fn another_header_without_a_scheme() {
    let bearer = bearer("{ header: X-Token, scheme: '', token: abc }").0.unwrap();
    assert!(bearer.admits(&with("x-token", "abc")));
    assert!(!bearer.admits(&with("authorization", "Bearer abc")));
    let (name, value) = bearer.credentials().unwrap();
    assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-token", "abc"));
    assert!(value.is_sensitive());
}

#[test]
fn a_file_of_tokens_is_read_again_when_it_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, "first\n\n second \n").unwrap();
    let bearer = bearer(&format!("filename: {}", path.display())).0.unwrap();
    let admits = |token: &str| bearer.admits(&with("authorization", &format!("Bearer {token}")));
    assert!(admits("first") && admits("second") && !admits(""));
    assert_eq!(bearer.credentials().unwrap().1, "Bearer first");
    std::fs::write(&path, "third, which is longer").unwrap();
    assert!(!admits("first") && admits("third, which is longer"));
    assert_eq!(bearer.credentials().unwrap().1, "Bearer third, which is longer");
    std::fs::write(&path, "").unwrap();
    assert!(admits("third, which is longer"), "an empty file takes nothing away");
}

#[test]
fn what_is_wrong_with_tokens_is_told_without_them() {
    for (yaml, told) in [
        ("{}", "one of `token`, `tokens` and `filename` is needed"),
        ("{ token: hush, tokens: [hush] }", "one of `token`, `tokens` and `filename` is needed"),
        ("{ token: \"hush\\n\" }", "`token`: a token holds characters that a header cannot"),
        ("{ token: hush, header: 'a b' }", "`header`: `a b` is no header name"),
        ("{ filename: /none }", "`filename`: /none: No such file or directory"),
        ("{ token: hush, tokn: hush }", "did you mean `token`"),
    ] {
        let (_, problems) = bearer(yaml);
        assert!(problems.len() == 1 && problems[0].contains(told), "{yaml}: {problems:?}");
        assert!(!problems[0].contains("hush"), "{problems:?}");
    }
    assert!(!format!("{:?}", bearer("token: hush").0.unwrap()).contains("hush"));
}

/// Runs on a runtime that has threads for what blocks.
fn admits(basic: &Basic, value: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(basic.admits(&with("authorization", value)))
}

#[test]
fn a_user_with_the_right_password_is_admitted() {
    // RFC 7617 §2: `Aladdin` with the password `open sesame`.
    let plain = basic("htpasswd: { inline: 'Aladdin:open sesame' }").0.unwrap();
    assert!(admits(&plain, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert!(admits(&plain, "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    // `Aladdin:open sesam`, `aladdin:open sesame`, `Aladdin`
    for wrong in ["QWxhZGRpbjpvcGVuIHNlc2Ft", "YWxhZGRpbjpvcGVuIHNlc2FtZQ==", "QWxhZGRpbg==", "!", ""] {
        assert!(!admits(&plain, &format!("Basic {wrong}")), "{wrong}");
    }
    assert!(!admits(&plain, "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
}

#[test]
fn passwords_may_be_hashed_by_bcrypt() {
    // The crypt_blowfish test vector of the password `U*U`.
    let hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let hashed = basic(&format!("htpasswd: {{ inline: 'u:{hash}' }}")).0.unwrap();
    // `u:U*U`, twice: the second time it is remembered.
    assert!(admits(&hashed, "Basic dTpVKlU=") && admits(&hashed, "Basic dTpVKlU="));
    // `u:U*V`, and the hash itself.
    assert!(!admits(&hashed, "Basic dTpVKlY="));
    let encoded = base64::prelude::BASE64_STANDARD.encode(format!("u:{hash}"));
    assert!(!admits(&hashed, &format!("Basic {encoded}")));
}

#[test]
fn what_was_right_is_wrong_when_the_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("htpasswd");
    std::fs::write(&path, "# senders\nAladdin:open sesame\n").unwrap();
    let basic = basic(&format!("htpasswd: {{ file: {} }}", path.display())).0.unwrap();
    assert!(admits(&basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    std::fs::write(&path, "Aladdin:something else\n").unwrap();
    assert!(!admits(&basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "remembered too long");
}

#[test]
fn what_is_sent_is_the_user_and_the_password() {
    let own = basic("client_auth: { username: Aladdin, password: open sesame }").0.unwrap();
    assert_eq!(own.credentials().unwrap().1, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert!(!admits(&own, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "it says nothing of senders");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "open\n").unwrap();
    let own = basic(&format!("client_auth: {{ username: Aladdin, password_file: {} }}", path.display())).0.unwrap();
    // base64 of `Aladdin:open`
    assert_eq!(own.credentials().unwrap().1, "Basic QWxhZGRpbjpvcGVu");
    std::fs::write(&path, "open sesame\n").unwrap();
    assert_eq!(own.credentials().unwrap().1, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

#[test]
fn what_is_wrong_with_users_is_told_without_passwords() {
    for (yaml, told) in [
        ("{}", "`htpasswd` (for receivers) or `client_auth` (for exporters) is needed"),
        ("{ htpasswd: {} }", "`file` or `inline` is needed"),
        ("{ htpasswd: { inline: hush } }", "a line is not `user:password`"),
        ("{ htpasswd: { inline: '# nobody' } }", "`htpasswd`: it names no user"),
        ("{ htpasswd: { inline: 'u:{SHA}hush' } }", "the password of `u` is hashed in a way that is not supported"),
        ("{ htpasswd: { inline: 'u:$apr1$hush' } }", "the password of `u` is hashed in a way that is not supported"),
        ("{ client_auth: { username: u } }", "`username` and `password` are needed"),
        ("{ client_auth: { username: 'u:v', password: hush } }", "`client_auth`: a user name must not hold a `:`"),
        ("{ client_auth: { username: u, password: hush, password_file: /p } }", "there is `password` already"),
    ] {
        let (_, problems) = basic(yaml);
        assert!(problems.len() == 1 && problems[0].contains(told), "{yaml}: {problems:?}");
        assert!(!problems[0].contains("hush"), "{problems:?}");
    }
    let shown = format!(
        "{:?}",
        basic("{ htpasswd: { inline: 'u:hush' }, client_auth: { username: u, password: hush } }").0.unwrap()
    );
    assert!(!shown.contains("hush"), "{shown}");
}
