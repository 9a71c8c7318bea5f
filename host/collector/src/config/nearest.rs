//! Guesses what was meant by a name that does not exist.

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
}
