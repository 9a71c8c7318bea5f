//! Queries of databases without the values in them.

use sluice_sdk::serde_json::{self, Value};

/// What stands for a value.
const VALUE: u8 = b'?';

/// A language that queries are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// SQL.
    Sql,
    /// SQL as `mysql` and `mariadb` have it: what is in double quotes is a literal.
    MySql,
    /// Commands of Redis and Valkey.
    Redis,
    /// Commands of Memcached.
    Memcached,
    /// JSON, as document stores take it.
    Json,
}

impl Language {
    /// A query without its values.
    pub fn sanitized(self, query: &[u8]) -> Vec<u8> {
        match self {
            Self::Sql => sql(query, b"\'"),
            Self::MySql => sql(query, b"\'\""),
            Self::Redis => redis(query),
            Self::Memcached => query.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end().to_vec(),
            Self::Json => json(query),
        }
    }
}

/// Literals become `?`, comments go; names, quoted or not, and all the rest stay.
fn sql(query: &[u8], quotes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(query.len());
    let mut at = 0;
    while let Some(&byte) = query.get(at) {
        let rest = query.get(at..).unwrap_or_default();
        let in_name =
            out.last().is_some_and(|last| last.is_ascii_alphanumeric() || matches!(last, b'_' | b'$' | b'@' | 0x80..));
        at += match byte {
            byte if quotes.contains(&byte) => {
                // `E'…'` and `x'…'` are one literal.
                if matches!(out.as_slice(), [.., before, b'e' | b'E' | b'x' | b'X' | b'n' | b'N' | b'b' | b'B'] if !before.is_ascii_alphanumeric())
                {
                    out.pop();
                }
                out.push(VALUE);
                quoted(rest, true)
            }
            b'"' | b'`' => {
                let len = quoted(rest, false);
                out.extend_from_slice(rest.get(..len).unwrap_or_default());
                len
            }
            b'$' if !in_name && dollar(rest).is_some() => {
                out.push(VALUE);
                dollar(rest).unwrap_or(rest.len())
            }
            b'-' if rest.starts_with(b"--") => line(rest),
            b'#' if at == 0 || query.get(at - 1).is_some_and(u8::is_ascii_whitespace) => line(rest),
            b'/' if rest.starts_with(b"/*") => memchr::memmem::find(rest, b"*/").map_or(rest.len(), |end| end + 2),
            b'0'..=b'9' if !in_name => {
                out.push(VALUE);
                number(rest)
            }
            b'.' if !in_name && rest.get(1).is_some_and(u8::is_ascii_digit) => {
                out.push(VALUE);
                number(rest)
            }
            _ => {
                out.push(byte);
                1
            }
        };
    }
    out.trim_ascii().to_vec()
}

/// How long something in quotes is; a quote twice is a quote, and in literals so is one behind `\`.
fn quoted(rest: &[u8], escapes: bool) -> usize {
    let Some(quote) = rest.first() else { return 0 };
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        if byte == quote {
            if rest.get(at + 1) != Some(quote) {
                return at + 1;
            }
            at += 1;
        } else if escapes && *byte == b'\\' {
            at += 1;
        }
        at += 1;
    }
    rest.len()
}

/// `$tag$ … $tag$`
fn dollar(rest: &[u8]) -> Option<usize> {
    let tag = 2 + rest.get(1..)?.iter().position(|byte| *byte == b'$')?;
    let name = rest.get(1..tag - 1)?;
    let is_tag = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let is_tag = is_tag && !name.first().is_some_and(u8::is_ascii_digit);
    let end = memchr::memmem::find(rest.get(tag..)?, rest.get(..tag)?).map_or(rest.len(), |end| tag + end + tag);
    is_tag.then_some(end)
}

fn line(rest: &[u8]) -> usize {
    memchr::memchr(b'\n', rest).unwrap_or(rest.len())
}

fn number(rest: &[u8]) -> usize {
    let mut len = 0;
    while let Some(byte) = rest.get(len) {
        let exponent_sign = matches!(byte, b'+' | b'-')
            && len
                .checked_sub(1)
                .and_then(|before| rest.get(before))
                .is_some_and(|before| matches!(before, b'e' | b'E'))
            && !rest.starts_with(b"0x");
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || exponent_sign) {
            break;
        }
        len += 1;
    }
    len
}

/// The command of each line stays, and `?` for all that it is given.
fn redis(query: &[u8]) -> Vec<u8> {
    let command = |line: &[u8]| {
        let line = line.trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace);
        let mut command = line.get(..end.unwrap_or(line.len())).unwrap_or_default().to_vec();
        if end.is_some() {
            command.extend([b' ', VALUE]);
        }
        command
    };
    query.split(|byte| *byte == b'\n').map(command).collect::<Vec<_>>().join(&b'\n')
}

/// Keys stay, values become `"?"`. What is no JSON is a value.
fn json(query: &[u8]) -> Vec<u8> {
    fn blank(value: &mut Value) {
        match value {
            Value::Object(map) => map.values_mut().for_each(blank),
            Value::Array(list) => list.iter_mut().for_each(blank),
            other => *other = Value::String((VALUE as char).to_string()),
        }
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(query) else { return vec![VALUE] };
    blank(&mut value);
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sanitized(language: Language, query: &str) -> String {
        String::from_utf8(language.sanitized(query.as_bytes())).unwrap()
    }

    #[test]
    fn literals_of_sql_go_and_names_stay() {
        for (query, expected) in [
            ("SELECT * FROM users WHERE id = 123", "SELECT * FROM users WHERE id = ?"),
            (
                "SELECT a1 FROM t2 WHERE name = 'O''Brien' AND x IN (1, -2.5e-3, 0xff)",
                "SELECT a1 FROM t2 WHERE name = ? AND x IN (?, -?, ?)",
            ),
            ("SELECT \"col 1\", `c2` FROM t -- 4111111111111111", "SELECT \"col 1\", `c2` FROM t"),
            ("SELECT /* secret */ 1", "SELECT  ?"),
            ("INSERT INTO t VALUES (E'a\\'b', x'ff', $$it's$$, $q$x$q$, $1)", "INSERT INTO t VALUES (?, ?, ?, ?, $1)"),
            ("SELECT 'never closed", "SELECT ?"),
            ("SELECT @v, .5", "SELECT @v, ?"),
        ] {
            assert_eq!(sanitized(Language::Sql, query), expected, "{query}");
        }
    }

    #[test]
    fn commands_keep_their_names() {
        assert_eq!(sanitized(Language::MySql, "SELECT \"secret\", `c2`"), "SELECT ?, `c2`");
        assert_eq!(sanitized(Language::Redis, "SET user:1 secret\nPING\nGET user:1"), "SET ?\nPING\nGET ?");
        assert_eq!(sanitized(Language::Memcached, "set key 0 0 6\r\nsecret\r\n"), "set key 0 0 6");
    }

    #[test]
    fn json_keeps_its_keys() {
        let query = r#"{"find":"users","filter":{"mail":{"$in":["a@b.c",1,null]}}}"#;
        assert_eq!(sanitized(Language::Json, query), r#"{"filter":{"mail":{"$in":["?","?","?"]}},"find":"?"}"#);
        assert_eq!(sanitized(Language::Json, "db.users.find({a: 1})"), "?");
    }
}
