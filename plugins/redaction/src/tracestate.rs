//! The tracestate (W3C Trace Context §3.3): a list of members `key=value`, which stays one.

/// The member of OpenTelemetry. Samplers depend on it, and only numbers are in it.
const OPEN_TELEMETRY: &[u8] = b"ot";
/// Characters of a value.
const MAX_VALUE: usize = 256;

/// The tracestate with everything replaced that `look` finds: in a value, if what is left is one; a
/// member goes otherwise, or if it is found in its key. `None` if nothing is found.
pub fn replace(state: &[u8], mut look: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut changed = false;
    let mut members: Vec<Vec<u8>> = Vec::new();
    for member in state.split(|byte| *byte == b',') {
        let trimmed = member.trim_ascii();
        let (key, value) = match trimmed.iter().position(|byte| *byte == b'=') {
            Some(at) => (trimmed.get(..at).unwrap_or_default(), trimmed.get(at + 1..).unwrap_or_default()),
            None => (trimmed, &[][..]),
        };
        if key == OPEN_TELEMETRY {
            members.push(member.to_owned());
            continue;
        }
        let new = look(value);
        match (look(key), new) {
            (None, None) if look(trimmed).is_none() => {
                members.push(member.to_owned());
                continue;
            }
            (None, Some(new)) if is_value(&new) => members.push([key, b"=", &new].concat()),
            _ => {}
        }
        changed = true;
    }
    changed.then(|| members.join(&b','))
}

fn is_value(value: &[u8]) -> bool {
    let fits = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=MAX_VALUE).contains(&value.len()) && value.iter().all(fits) && value.last() != Some(&b' ')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    fn replace(state: &str, with: &str) -> Option<String> {
        let look = |text: &[u8]| {
            let text = str::from_utf8(text).unwrap();
            text.contains("secret").then(|| text.replace("secret", with).into_bytes())
        };
        super::replace(state.as_bytes(), look).map(|state| String::from_utf8(state).unwrap())
    }

    #[test]
    fn what_is_found_is_replaced_in_values() {
        assert_eq!(replace("a=1, b=xsecretx ,c=3", "****").unwrap(), "a=1,b=x****x,c=3");
        assert_eq!(replace("a=1, b=2", "****"), None);
        assert_eq!(replace("", "****"), None);
    }

    #[test]
    fn what_would_be_no_member_goes_whole() {
        assert_eq!(replace("secret=1,b=2", "****").unwrap(), "b=2");
        assert_eq!(replace("a=secret,b=2", "").unwrap(), "b=2");
        assert_eq!(replace("a=secret,b=2", "x=y").unwrap(), "b=2");
        assert_eq!(replace("a=secret,b=2", &"x".repeat(257)).unwrap(), "b=2");
        assert_eq!(replace("secret", "****").unwrap(), "");
    }

    #[test]
    fn the_member_of_opentelemetry_is_untouched() {
        assert_eq!(replace("ot=th:secret;rv:1,b=secret", "****").unwrap(), "ot=th:secret;rv:1,b=****");
        assert_eq!(replace("ot=secret", "****"), None);
    }
}
