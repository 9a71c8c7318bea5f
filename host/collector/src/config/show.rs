//! `sluice print-config`: the configuration as it is put together, to be shown. Sources are merged and
//! substitutions made; secrets are left out.

use std::io::Write as _;
use std::process::ExitCode;

use saphyr::{Mapping, Scalar, Yaml, YamlEmitter};

use super::diagnostic::Diagnostics;
use super::mark::Mark;
use super::source::{Pipes, Source};
use super::substitute::{self, Environment};
use super::tree::{Entry, Tree, Value};

/// What stands for a secret.
const HIDDEN: &str = "[REDACTED]";

/// Keys below which everything is a secret, wherever they stand.
const SECRET: [&str; 7] = ["headers", "hash_key", "hmac_key", "inline", "key_pem", "token", "tokens"];

/// What the names of keys hold whose values are secrets: plugins have their own.
const TELLING: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "api_key", "private_key", "credential"];

/// Prints the configuration of these sources on stdout; what is wrong with it goes to stderr, and then the
/// exit code is 1.
pub fn run(sources: &[Source]) -> ExitCode {
    match shown(sources, &substitute::process_environment) {
        Ok((text, warnings)) => {
            super::print(&warnings);
            match std::io::stdout().lock().write_all(text.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(problems) => {
            super::print(&problems);
            ExitCode::FAILURE
        }
    }
}

/// The text, and what is probably not meant.
pub(super) fn shown(sources: &[Source], environment: Environment<'_>) -> Result<(String, Diagnostics), Diagnostics> {
    let (mut problems, mut files) = (Diagnostics::default(), Vec::new());
    let tree = super::gather(sources, environment, Pipes::Waited, &mut problems, &mut files, &mut Vec::new());
    let warnings = super::judge(tree.as_ref(), problems, files, Vec::new()).map_err(|broken| broken.problems)?.warnings;
    let tree = tree.unwrap_or_else(|| Tree::null(Mark::default()));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = YamlEmitter::new(&mut text).dump(&yaml(&tree, false));
    text.push('\n');
    Ok((text, warnings))
}

fn yaml(tree: &Tree, is_secret: bool) -> Yaml<'_> {
    let text = |text: String| Yaml::Value(Scalar::String(text.into()));
    match &tree.value {
        Value::List(list) => Yaml::Sequence(list.iter().map(|value| yaml(value, is_secret)).collect()),
        Value::Map(entries) => {
            let mut mapping = Mapping::new();
            for Entry { key, value, .. } in entries {
                mapping.insert(text(key.clone()), yaml(value, is_secret || is_secret_key(key)));
            }
            Yaml::Mapping(mapping)
        }
        Value::Null => Yaml::Value(Scalar::Null),
        _ if is_secret => text(HIDDEN.to_owned()),
        Value::Bool(value) => Yaml::Value(Scalar::Boolean(*value)),
        Value::Integer(value) => Yaml::Value(Scalar::Integer(*value)),
        Value::Float(value) => Yaml::Value(Scalar::FloatingPoint((*value).into())),
        Value::Text(value) => text(without_credentials(value)),
    }
}

/// A file with a secret is none itself.
fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET.contains(&key.as_str()) || (!key.ends_with("_file") && TELLING.iter().any(|part| key.contains(part)))
}

/// A URL without the name and the password that may stand before its host.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}{path}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn show(texts: &[&str]) -> String {
        let source = |text: &&str| Source::Text("c.yaml".to_owned(), (*text).to_owned());
        let sources: Vec<_> = texts.iter().map(source).collect();
        let environment = |name: &str| Ok((name == "HOST").then(|| "up.example".to_owned()));
        shown(&sources, &environment).map_err(|problems| problems.to_string()).unwrap().0
    }

    const BASE: &str = "
receivers: { otlp: { protocols: { grpc: } } }
exporters: { otlp_http: { endpoint: 'https://me:pass@${env:HOST}:4318/v1', headers: { x-key: marker } } }
service: { pipelines: { traces: { receivers: [otlp], exporters: [otlp_http] } } }
";

    #[test]
    fn sources_are_merged_and_substituted_and_secrets_left_out() {
        let more = "exporters: { otlp_http: { timeout: 3s, headers: { y: '2' } } }";
        let expected = "---
receivers:
  otlp:
    protocols:
      grpc: ~
exporters:
  otlp_http:
    endpoint: \"https://[REDACTED]@up.example:4318/v1\"
    headers:
      x-key: \"[REDACTED]\"
      y: \"[REDACTED]\"
    timeout: 3s
service:
  pipelines:
    traces:
      receivers:
        - otlp
      exporters:
        - otlp_http
";
        assert_eq!(show(&[BASE, more]), expected);
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let odd = "processors: { attributes: { actions: [{ key: k, value: \"a: 'b'\\n#c\", action: insert }] } }";
        let once = show(&[BASE, odd]);
        assert_eq!(show(&[&once]), once);
    }

    #[test]
    fn names_tell_secrets_from_files_with_secrets() {
        for secret in ["token", "bearer_token", "client_secret", "Password", "hash_key", "key_pem", "x_api_key"] {
            assert!(is_secret_key(secret), "{secret}");
        }
        for open in ["token_file", "key_file", "key", "endpoint", "allowed_keys", "filename"] {
            assert!(!is_secret_key(open), "{open}");
        }
    }
}
