//! The statements of `transform` work in the sandbox, on what an earlier processor has left.

use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send;
use sluice_tests::sink::Sink;

use crate::sampling::{attribute, request, span};

#[test]
fn statements_change_what_earlier_processors_left() {
    let statements = r#"
error_mode: propagate
trace_statements:
  - set(resource.attributes["region"], "eu")
  - replace_pattern(span.name, "[0-9]+", "{$$0}")
  - context: span
    statements:
      - set(attributes["of"], resource.attributes["service.name"]) where attributes["mark"] == "new"
      - delete_matching_keys(attributes, "^m")
"#;
    let mark = "actions: [{ key: mark, value: new, action: update }]";
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("attributes", mark).processor("transform", statements);
    let sluice = Sluice::start(&config);
    let spans = vec![span(1, "get 17", vec![attribute("mark", "old")]), span(2, "b", vec![attribute("x", "y")])];
    send::all(sluice.grpc(), &[request("shop", spans)]).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let resource = upstream.decoded().remove(0).resource_spans.remove(0);
    let attributes = resource.resource.unwrap().attributes;
    assert_eq!(attributes, [attribute("service.name", "shop"), attribute("region", "eu")]);
    let expected = [span(1, "get {17}", vec![attribute("of", "shop")]), span(2, "b", vec![attribute("x", "y")])];
    assert_eq!(resource.scope_spans[0].spans, expected);
}
