//! Text to tokens.

use sluice_sdk::number;

use super::parser::SyntaxError;
use super::value::{Literal, Operator};

/// A token, and the column (from 1, in characters) at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    pub column: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Literal(Literal),
    Comparison(Operator),
    /// A name, keywords included.
    Name(String),
    /// `( ) [ ] . ,` and what OTTL has but the subset has not: `+ - * / { } : =`.
    Punctuation(char),
    End,
}

struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
}

/// The tokens of a condition, [`Kind::End`] as the last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut lexer = Lexer { text, rest: text };
    let mut tokens = Vec::new();
    loop {
        lexer.rest = lexer.rest.trim_start();
        let column = lexer.column();
        let kind = lexer.next(column)?;
        let ended = kind == Kind::End;
        tokens.push(Token { kind, column });
        if ended {
            return Ok(tokens);
        }
    }
}

impl<'a> Lexer<'a> {
    fn column(&self) -> usize {
        let before = self.text.len() - self.rest.len();
        self.text.get(..before).unwrap_or_default().chars().count() + 1
    }

    fn next(&mut self, column: usize) -> Result<Kind, SyntaxError> {
        let mut chars = self.rest.chars();
        let Some(first) = chars.next() else { return Ok(Kind::End) };
        let second = chars.next();
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let begins_number = is_digit(second) || first != '.' && second == Some('.') && is_digit(chars.next());
        match first {
            '"' => self.string(column),
            '0' if second == Some('x') => self.bytes(column),
            '0'..='9' => self.number(column),
            '+' | '-' | '.' if begins_number => self.number(column),
            'a'..='z' | 'A'..='Z' | '_' => {
                Ok(Kind::Name(self.take(|c| c.is_ascii_alphanumeric() || c == '_').to_owned()))
            }
            '=' | '!' | '<' | '>' => self.comparison(column, first, second),
            '(' | ')' | '[' | ']' | '.' | ',' | '{' | '}' | ':' | '+' | '-' | '*' | '/' => {
                self.skip(1);
                Ok(Kind::Punctuation(first))
            }
            _ => Err(SyntaxError::new(column, format!("`{first}` is not expected"))),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn comparison(&mut self, column: usize, first: char, second: Option<char>) -> Result<Kind, SyntaxError> {
        let (operator, len) = match (first, second) {
            ('=', Some('=')) => (Operator::Equal, 2),
            ('!', Some('=')) => (Operator::NotEqual, 2),
            ('<', Some('=')) => (Operator::LessOrEqual, 2),
            ('>', Some('=')) => (Operator::GreaterOrEqual, 2),
            ('<', _) => (Operator::Less, 1),
            ('>', _) => (Operator::Greater, 1),
            ('=', _) => return Err(SyntaxError::new(column, "`=` is no comparison: use `==`")),
            _ => return Err(SyntaxError::new(column, "`!` is no operator: use `not` or `!=`")),
        };
        self.skip(len);
        Ok(Kind::Comparison(operator))
    }

    fn bytes(&mut self, column: usize) -> Result<Kind, SyntaxError> {
        self.skip(2);
        let digits = self.take(|c| c.is_ascii_hexdigit());
        if digits.is_empty() || digits.len() % 2 == 1 {
            return Err(SyntaxError::new(column, "bytes need an even number of hexadecimal digits"));
        }
        let pair = |pair: &[u8]| str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let (pairs, _) = digits.as_bytes().as_chunks::<2>();
        Ok(Kind::Literal(Literal::Bytes(pairs.iter().filter_map(|digits| pair(digits)).collect())))
    }

    /// OTTL's `[-+]?\d+` and `[-+]?\d*\.\d+([eE][-+]?\d+)?`.
    fn number(&mut self, column: usize) -> Result<Kind, SyntaxError> {
        let bytes = self.rest.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let sign = usize::from(bytes.first().is_some_and(|byte| b"+-".contains(byte)));
        let mut end = digits(sign);
        let is_float = bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if is_float {
            end = digits(end + 1);
            if bytes.get(end).is_some_and(|byte| b"eE".contains(byte)) {
                let sign = usize::from(bytes.get(end + 1).is_some_and(|byte| b"+-".contains(byte)));
                if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                    end = digits(end + 1 + sign);
                }
            }
        }
        let text = self.rest.get(..end).unwrap_or_default();
        self.skip(end);
        let literal =
            if is_float { number::parse(text).map(Literal::Float) } else { text.parse().ok().map(Literal::Int) };
        literal
            .map(Kind::Literal)
            .ok_or_else(|| SyntaxError::new(column, format!("`{text}` does not fit a 64-bit number")))
    }

    fn string(&mut self, column: usize) -> Result<Kind, SyntaxError> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.skip(at + 1);
                    return Ok(Kind::Literal(Literal::String(out)));
                }
                '\\' => {
                    let escaped = chars.next().map(|(_, c)| c);
                    let mut digits = |count: usize| {
                        let digits: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
                        u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
                    };
                    let c = match escaped {
                        Some(c @ ('\\' | '"')) => Some(c),
                        Some('n') => Some('\n'),
                        Some('t') => Some('\t'),
                        Some('r') => Some('\r'),
                        Some('a') => Some('\u{7}'),
                        Some('b') => Some('\u{8}'),
                        Some('f') => Some('\u{c}'),
                        Some('v') => Some('\u{b}'),
                        Some('x') => digits(2).filter(char::is_ascii),
                        Some('u') => digits(4),
                        Some('U') => digits(8),
                        _ => None,
                    };
                    out.push(c.ok_or_else(|| {
                        let escape = escaped.map(String::from).unwrap_or_default();
                        SyntaxError::new(
                            column,
                            format!("the string has an unknown escape `\\{escape}`; a backslash is `\\\\`"),
                        )
                    })?);
                }
                c => out.push(c),
            }
        }
        Err(SyntaxError::new(column, "the string has no end"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        tokens(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn literals_are_those_of_ottl() {
        let cases = [
            ("12", Literal::Int(12)),
            ("-7", Literal::Int(-7)),
            ("+7", Literal::Int(7)),
            ("1.5", Literal::Float(1.5)),
            ("-.5e2", Literal::Float(-50.0)),
            ("0xC0ffee", Literal::Bytes(vec![0xc0, 0xff, 0xee])),
            (r#""a\"b\\d\n\x41\u00e9""#, Literal::String("a\"b\\d\nA\u{e9}".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(kinds(text), [Kind::Literal(expected), Kind::End], "{text}");
        }
    }

    #[test]
    fn columns_count_characters() {
        let columns: Vec<_> = tokens(r#" name == "é" and x"#).unwrap().into_iter().map(|token| token.column).collect();
        assert_eq!(columns, [2, 7, 10, 14, 18, 19]);
    }

    #[test]
    fn what_is_no_token_is_refused_where_it_is() {
        for (text, column) in [
            ("name = 1", 6),
            ("a ! b", 3),
            ("\"open", 1),
            (r#"a == "\d""#, 6),
            ("a & b", 3),
            ("0x1", 1),
            ("99999999999999999999", 1),
        ] {
            assert_eq!(tokens(text).unwrap_err().column, column, "{text}");
        }
    }
}
