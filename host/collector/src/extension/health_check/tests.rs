#![allow(clippy::unwrap_used)]

use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{Readiness, Settings};
use crate::config::section::read_text;

fn settings(yaml: &str) -> Settings {
    let (settings, problems) = read_text("c.yaml", yaml, Settings::read);
    assert!(problems.is_empty(), "{problems}");
    settings
}

async fn answer(settings: &Settings, readiness: &Readiness) -> (StatusCode, String) {
    let answer = settings.answer(readiness);
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_answer_follows_the_readiness() {
    let (settings, readiness) = (settings(""), Readiness::default());
    assert_eq!((settings.endpoint.text.as_str(), settings.path.as_str()), ("localhost:13133", "/"));
    let told = |(status, body): (StatusCode, String)| {
        let body: Value = serde_json::from_str(&body).unwrap();
        (status.as_u16(), body.get("status").and_then(Value::as_str).unwrap().to_owned())
    };
    let unavailable = (503, "Server not available".to_owned());
    assert_eq!(told(answer(&settings, &readiness).await), unavailable, "it is starting");
    readiness.ready();
    assert_eq!(told(answer(&settings, &readiness).await), (200, "Server available".to_owned()));
    readiness.hold("disk", "it is full");
    assert_eq!(told(answer(&settings, &readiness).await), unavailable);
    assert!(answer(&settings, &readiness).await.1.contains("it is full"));
    readiness.release("disk");
    readiness.not_ready("the process is stopping");
    assert_eq!(told(answer(&settings, &readiness).await), unavailable);
}

#[tokio::test]
async fn the_bodies_can_be_chosen() {
    let settings = settings("path: /healthz\nresponse_body: { healthy: fine, unhealthy: ill }\n");
    let readiness = Readiness::default();
    assert_eq!(answer(&settings, &readiness).await, (StatusCode::SERVICE_UNAVAILABLE, "ill".to_owned()));
    readiness.ready();
    assert_eq!(answer(&settings, &readiness).await, (StatusCode::OK, "fine".to_owned()));
}
