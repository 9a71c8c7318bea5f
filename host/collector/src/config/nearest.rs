//! Guesses what was meant by a name that does not exist.

/// What a plugin says of its configuration, with the known name that was most likely meant where it says that one is
/// unknown. Plugins list what they know, as serde does it, and guess nothing: that code would be in each of them.
pub fn with_nearest(message: String) -> String {
    match meant(&message) {
        Some(known) => format!("{message}; did you mean `{known}`?"),
        None => message,
    }
}

/// Reads serde's two messages about unknown names; what is not worded like them is left as it is.
fn meant(message: &str) -> Option<&str> {
    let told = message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    let (name, expected) = told.split_once("`, expected ")?;
    // Behind the last quote is no name: a long message is cut, be it within one.
    let (expected, _) = expected.rsplit_once('`')?;
    nearest(name, expected.split('`').skip(1).step_by(2))
}

/// The known name that a mistyped one was most likely meant to be.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let close = |known: &'k str| {
        let distance = strsim::damerau_levenshtein(name, known);
        // One slip in three letters; more is another word.
        let allowed = (name.chars().count().max(known.chars().count()) / 3).max(1);
        (distance <= allowed).then_some((distance, known))
    };
    known.into_iter().filter_map(close).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognized_and_another_word_is_not() {
        let known = ["endpoint", "timeout", "headers", "tls"];
        let nearest = |name| nearest(name, known);
        assert_eq!(nearest("endpont"), Some("endpoint"));
        assert_eq!(nearest("end_point"), Some("endpoint"));
        assert_eq!(nearest("header"), Some("headers"));
        assert_eq!(nearest("tsl"), Some("tls"));
        assert_eq!(nearest("compression"), None);
        assert_eq!(nearest("x"), None);
    }

    #[test]
    fn what_a_plugin_says_of_an_unknown_name_gets_the_nearest() {
        for (said, meant) in [
            ("unknown field `kye`, expected `key`", "key"),
            ("unknown field `kye`, expected `value` or `key`", "key"),
            ("unknown field `allowed_key`, expected one of `mode`, `allowed_keys`, `scan`", "allowed_keys"),
            ("unknown variant `plian`, expected one of `named`, `plain`", "plain"),
            ("unknown field `modes`, expected one of `mode`, `mod… (cut, it has 2000 bytes)", "mode"),
        ] {
            assert_eq!(with_nearest(said.to_owned()), format!("{said}; did you mean `{meant}`?"));
        }
        for said in [
            "",
            "unknown field `compression`, expected one of `mode`, `scan`",
            "unknown field `key`, there are no fields",
            "unknown field `a`, expected ",
            "unknown field `a`, expected `",
            "unknown field `modes`, expected one of `mode… (cut, it has 2000 bytes)",
            "the rule says: unknown field `kye`, expected `key`",
        ] {
            assert_eq!(with_nearest(said.to_owned()), said);
        }
    }
}
