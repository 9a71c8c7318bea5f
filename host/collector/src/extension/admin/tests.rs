#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{Answer, Asked, Desk, Done, Order, Orders, Settings};
use crate::account::Account;
use crate::config::section::read_text;
use crate::telemetry::metrics::Metrics;

/// The API with a token, and where its orders come out.
struct Api {
    settings: Settings,
    desk: Desk,
    orders: Orders,
    token: tempfile::NamedTempFile,
}

fn settings(yaml: &str) -> Result<Settings, String> {
    let (settings, problems) = read_text("c.yaml", yaml, Settings::read);
    if problems.is_empty() { Ok(settings) } else { Err(problems.to_string()) }
}

impl Api {
    fn new(token: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), token).unwrap();
        let settings = settings(&format!("token_file: '{}'", file.path().display())).unwrap();
        let (desk, orders) = Desk::new(Account::new(Metrics::default().registry()).unwrap());
        Self { settings, desk, orders, token: file }
    }

    async fn send(&self, request: http::request::Builder) -> Answer {
        let parts = request.body(()).unwrap().into_parts().0;
        let site = self.settings.site("sluice", &self.desk);
        // Nobody carries orders out: one that is taken by mistake would wait for ever.
        tokio::time::timeout(Duration::from_secs(20), (site.respond)(&parts)).await.unwrap()
    }

    async fn status(&self, request: http::request::Builder) -> StatusCode {
        let answer = self.send(request).await;
        let (status, body) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"].is_string(), !status.is_success(), "{status}: {body}");
        status
    }
}

fn ask(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "localhost:13134")
}

fn with_token(token: &str) -> http::request::Builder {
    ask(Method::POST, "/v1/reload").header(header::AUTHORIZATION, token)
}

#[tokio::test]
async fn only_who_names_this_machine_is_answered() {
    let api = Api::new("t");
    let get = |host: &str| Request::get("/v1/account").header(header::HOST, host);
    for here in ["localhost", "LOCALHOST:1", "127.0.0.1:13134", "[::1]:13134", "127.8.8.8"] {
        assert_eq!(api.status(get(here)).await, StatusCode::OK, "{here}");
    }
    for foreign in [
        "",
        "example.com",
        "localhost.example.com:13134",
        "10.0.0.1",
        "[2001:db8::1]:80",
        "127.0.0.1.example.com",
        "[::1",
    ] {
        assert_eq!(api.status(get(foreign)).await, StatusCode::FORBIDDEN, "{foreign}");
    }
    assert_eq!(api.status(Request::get("/v1/account")).await, StatusCode::FORBIDDEN, "no Host");
    assert_eq!(api.status(get("localhost").header(header::HOST, "example.com")).await, StatusCode::FORBIDDEN, "two");
    let absolute = Request::get("http://example.com/v1/account").header(header::HOST, "localhost");
    assert_eq!(api.status(absolute).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_page_of_another_site_is_not_answered() {
    let api = Api::new("t");
    let from = |origin: &str| ask(Method::GET, "/v1/plugins").header(header::ORIGIN, origin);
    for foreign in ["null", "https://example.com", "http://localhost:3000", "https://localhost:13134"] {
        assert_eq!(api.status(from(foreign)).await, StatusCode::FORBIDDEN, "{foreign}");
    }
    assert_eq!(api.status(from("http://localhost:13134")).await, StatusCode::OK);
    // Not even with the token.
    let stolen = with_token("Bearer t").header(header::ORIGIN, "https://example.com");
    assert_eq!(api.status(stolen).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn nothing_changes_without_the_token() {
    let mut api = Api::new("  a secret \n");
    for wrong in
        ["Bearer", "Bearer ", "Bearer a secre", "Bearer a secret2", "Basic a secret", "a secret", "Bearer A secret"]
    {
        let answer = api.send(with_token(wrong)).await;
        assert_eq!(
            (answer.status(), &answer.headers()[header::WWW_AUTHENTICATE]),
            (StatusCode::UNAUTHORIZED, &header::HeaderValue::from_static("Bearer")),
            "{wrong}"
        );
    }
    assert_eq!(api.status(ask(Method::POST, "/v1/reload")).await, StatusCode::UNAUTHORIZED);
    assert!(api.orders.slow.try_recv().is_err(), "nothing was ordered");
    for (outcome, error, status) in
        [("applied", None, StatusCode::OK), ("failed", Some("no".to_owned()), StatusCode::CONFLICT)]
    {
        let carry_out = async {
            let order = api.orders.slow.recv().await.unwrap();
            assert_eq!(order.asked, Asked::Reload);
            order.done(Done { outcome, error, swaps: Vec::new() });
        };
        let site = api.settings.site("sluice", &api.desk);
        let parts = with_token("bearer a secret").body(()).unwrap().into_parts().0;
        let (answer, ()) = tokio::join!((site.respond)(&parts), carry_out);
        assert_eq!(answer.status(), status);
    }
    // Another token counts with the next request.
    std::fs::write(api.token.path(), "another").unwrap();
    assert_eq!(api.status(with_token("bearer a secret")).await, StatusCode::UNAUTHORIZED);
    let site = api.settings.site("sluice", &api.desk);
    let parts = with_token("bearer another").body(()).unwrap().into_parts().0;
    let ordered = async { api.orders.slow.recv().await.map(|order| order.asked.clone()) };
    tokio::select! {
        asked = ordered => assert_eq!(asked, Some(Asked::Reload)),
        answer = (site.respond)(&parts) => panic!("{}", answer.status()),
    }
}

#[tokio::test]
async fn without_a_token_nobody_can_change_anything() {
    for token in ["", " \n"] {
        assert_eq!(Api::new(token).status(with_token("Bearer ")).await, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let api = Api { settings: settings("").unwrap(), ..Api::new("t") };
    assert_eq!(api.status(with_token("Bearer t")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(api.status(ask(Method::GET, "/v1/account")).await, StatusCode::OK);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_apart() {
    let api = Api::new("t");
    for path in
        ["/", "/v1", "/v1/plugins/", "/v1/plugins/nope", "/v1/plugins/nope/swap", "/v2/plugins", "/v1/plugins/%FF"]
    {
        assert_eq!(api.status(ask(Method::GET, path)).await, StatusCode::NOT_FOUND, "{path}");
    }
    let cases = [
        (Method::POST, "/v1/plugins", "GET, HEAD"),
        (Method::GET, "/v1/reload", "POST"),
        (Method::DELETE, "/v1/account", "GET, HEAD"),
    ];
    for (method, path, allow) in cases {
        let answer = api.send(ask(method, path)).await;
        assert_eq!(
            (answer.status(), answer.headers()[header::ALLOW].to_str().unwrap()),
            (StatusCode::METHOD_NOT_ALLOWED, allow)
        );
    }
}

#[tokio::test]
async fn orders_that_nobody_takes_are_refused_in_the_end() {
    let api = Api::new("t");
    let parts = || with_token("Bearer t").body(()).unwrap().into_parts().0;
    let site = api.settings.site("sluice", &api.desk);
    let waiting: Vec<_> = (0..4).map(|_| (site.respond)(&parts())).collect();
    assert_eq!((site.respond)(&parts()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    // They are no reason to refuse what does not wait for them.
    let (rollback, mut orders) = (Asked::Rollback("wasm/p".to_owned()), api.orders);
    assert!(api.desk.ask(Order::new(rollback.clone())).is_ok());
    assert_eq!(orders.quick.try_recv().unwrap().asked, rollback);
    drop(orders);
    for answer in waiting {
        assert_eq!(answer.await.status(), StatusCode::SERVICE_UNAVAILABLE, "the process is stopping");
    }
    assert_eq!((site.respond)(&parts()).await.status(), StatusCode::SERVICE_UNAVAILABLE, "it has stopped");
}

#[test]
fn it_is_served_to_this_machine_alone() {
    assert_eq!(settings("").unwrap().endpoint.text, "localhost:13134");
    for here in ["127.0.0.1:0", "'[::1]:1'", "localhost:1"] {
        assert!(settings(&format!("endpoint: {here}")).is_ok(), "{here}");
    }
    for beyond in ["0.0.0.0:13134", "':13134'", "example.com:1", "'[::]:1'"] {
        let told = settings(&format!("endpoint: {beyond}")).unwrap_err();
        assert!(told.contains("for this machine alone"), "{told}");
    }
}
