#![allow(clippy::unwrap_used)]
use super::*;

fn error(text: &str) -> String {
    Parsed::new(text, Some(Context::Span)).unwrap_err().to_string()
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_column() {
    let cases = [
        (r"name == Trim(name)", "`Trim` is not supported yet, at column 9"),
        (r#"name == "a" and start_time > 3"#, "the path `start_time` is not supported yet, at column 17"),
        (r"attributes[name] == 1", "expected a string, found `name`, at column 12"),
        (r"Len(name, 1) == 1", "`Len` takes 1 arguments, and here are 2, at column 1"),
        (r#"duration > Duration("1 day")"#, "`1 day` is no duration: use one like 1h30m or 250ms, at column 12"),
        (r"attributes == nil", "all attributes as one value are not supported yet: name a key, at column 1"),
        (r#"name["k"] == "v""#, "a key of `name` is not supported yet, at column 1"),
        (r#"name == {"a": 1}"#, "maps are not supported yet, at column 9"),
        (r"kind == SPAN_KIND_OTHER", "`SPAN_KIND_OTHER` is no enum that is known here, at column 9"),
        (r#"IsMatch(name, attributes["p"])"#, "a pattern that is no string literal is not supported yet, at column 15"),
        (r#"spanevent.name == "a""#, "`spanevent.name` is of another context than the condition, at column 1"),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_condition_is_refused_where_it_ends_to_be_one() {
    let cases = [
        ("", "expected a value, found the end, at column 1"),
        ("name", "expected a comparison, found the end, at column 5"),
        ("name ==", "expected a value, found the end, at column 8"),
        (r#"name == "a" name"#, "expected the end, `and` or `or`, found `name`, at column 13"),
        (r#"(name == "a""#, "expected `)`, found the end, at column 13"),
        ("not not true", "expected a value, found `not`, at column 5"),
        ("1 == 1 or", "expected a value, found the end, at column 10"),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected, "{text}");
    }
    assert!(error(&"(".repeat(1000)).starts_with("more than 32 parentheses"));
    assert!(error(r#"IsMatch(name, "(")"#).starts_with("the pattern is not valid"));
}

#[test]
fn without_a_context_paths_must_name_theirs() {
    assert!(
        Parsed::new(r#"name == "a""#, None).unwrap_err().to_string().starts_with("`name` must begin with its context")
    );
    assert!(!Parsed::new(r#"span.name == "a" and resource.attributes["k"] == 1"#, None).unwrap().of_events);
    assert!(Parsed::new(r#"span.name == "a" and spanevent.name == "b""#, None).unwrap().of_events);
}
