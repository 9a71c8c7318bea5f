//! One span before and after, side by side.

use std::collections::BTreeMap;

use serde_json::Value;

/// The lines of both, each `width` wide in all. What differs is marked.
pub fn beside(before: &Value, after: &Value, width: usize) -> Vec<String> {
    let (left, right) = (flat(before), flat(after));
    let mut keys: Vec<&String> = left.iter().map(|(key, _)| key).collect();
    keys.extend(right.iter().map(|(key, _)| key).filter(|key| !left.iter().any(|(known, _)| known == *key)));
    let name = keys.iter().map(|key| key.chars().count()).max().unwrap_or(0);
    let column = (width.saturating_sub(name + 10) / 2).clamp(16, 56);
    let (left, right): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (left.iter().cloned().collect(), right.iter().cloned().collect());
    let mut lines = vec![format!("    {:<name$}  {:<column$}  {}", "", "sent by the shop", "arrived upstream")];
    for key in keys {
        let (was, is) = (left.get(key), right.get(key));
        let mark = if was == is { ' ' } else { '*' };
        let [was, is] = [was, is].map(|text| cut(text.map_or("-", String::as_str), column));
        lines.push(format!("  {mark} {key:<name$}  {was:<column$}  {is}"));
    }
    lines
}

/// A span as keys and texts, in order.
fn flat(span: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![("name".to_owned(), text(&span["name"]))];
    let pairs = |prefix: &str, pairs: &Value| -> Vec<(String, String)> {
        let all = pairs.as_array().into_iter().flatten();
        all.map(|pair| (format!("{prefix}{}", text(&pair[0])), text(&pair[1]))).collect()
    };
    lines.extend(pairs("", &span["attributes"]));
    for event in span["events"].as_array().into_iter().flatten() {
        lines.extend(pairs(&format!("{}: ", text(&event["name"])), &event["attributes"]));
    }
    lines.push(("status".to_owned(), text(&span["status"])));
    lines
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}
