//! `OTEL_RESOURCE_ATTRIBUTES`: `key1=value1,key2=value2`, the values percent-encoded.

/// The most characters of a key or a value, as in the Collector.
const MOST: usize = 256;

/// Reads the variable as the Collector does: all of it, or nothing.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| format!("`{rest}` has no `=`"))?;
        let (value, next) = after.split_once(',').unwrap_or((after, ""));
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() {
            return Err(format!("`={value}` has no key"));
        }
        if [key, value].iter().any(|part| part.len() > MOST || !part.is_ascii()) {
            return Err(format!("`{key}`: keys and values have at most {MOST} characters, of ASCII"));
        }
        let value = decoded(value).ok_or_else(|| format!("`{key}`: `{value}` is not percent-encoded well"))?;
        match pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => pairs.push((key.to_owned(), value)),
        }
        rest = next.trim_start();
    }
    Ok(pairs)
}

/// `%20` and `+` are spaces, as in a query: so does the Collector.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The cases are those of the Collector's tests, and what its pattern says.
    #[test]
    fn pairs_are_read() {
        let cases: [(&str, &[(&str, &str)]); 8] = [
            ("key1=value1", &[("key1", "value1")]),
            ("key1=value1, key2=value2", &[("key1", "value1"), ("key2", "value2")]),
            (" example.org/test-1 =  test $ %3A \" ,", &[("example.org/test-1", "test $ : \"")]),
            ("k8s.pod.uid=a%2Cb%3Dc,empty=", &[("k8s.pod.uid", "a,b=c"), ("empty", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a=1,a=2", &[("a", "2")]),
            ("place=Gen%C3%A8ve+Cornavin", &[("place", "Genève Cornavin")]),
            ("  ", &[]),
        ];
        for (text, expected) in cases {
            let found = parse(text).unwrap();
            let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let long = format!("a={}", "x".repeat(257));
        let cases = [
            ("key1", "`key1` has no `=`"),
            ("a=b,c", "`c` has no `=`"),
            ("=b", "has no key"),
            ("a=%4", "`%4` is not percent-encoded well"),
            ("a=%zz", "`%zz` is not percent-encoded well"),
            ("a=%FF", "`%FF` is not percent-encoded well"),
            ("a=é", "of ASCII"),
            (&long, "at most 256"),
        ];
        for (text, expected) in cases {
            let told = parse(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        }
        assert!(parse(&long[..258]).is_ok());
    }
}
