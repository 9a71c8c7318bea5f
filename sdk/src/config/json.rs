//! JSON (RFC 8259), read piece by piece.

use serde::de::Error as _;

use super::problem::Problem;
use crate::number;

/// Lists and maps within each other. As many as `serde_json` takes; each is a few frames of the stack.
const MAX_DEPTH: usize = 127;

/// A text that is read, and where in it the reader is.
pub(super) struct Reader<'j> {
    text: &'j str,
    /// Bytes that are read.
    at: usize,
    /// Of the value that is being read. After a failure: of what it is about.
    path: Vec<Step>,
    /// Lists and maps that are open.
    depth: usize,
}

enum Step {
    Key(String),
    Item(usize),
}

/// A value. Of a list or a map the beginning, what is in it comes next.
pub(super) enum Found {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List,
    Map,
}

impl<'j> Reader<'j> {
    pub(super) fn new(text: &'j str) -> Self {
        Self { text, at: 0, path: Vec::new(), depth: 0 }
    }

    /// Like `actions[2].key`; empty of the whole.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Step::Item(item) => {
                    path.push('[');
                    path.push_str(&item.to_string());
                    path.push(']');
                }
            }
        }
        path
    }

    /// Reads a value, of a list or a map its bracket.
    pub(super) fn value(&mut self) -> Result<Found, Problem> {
        let found = match self.peek() {
            Some(b'n') => self.word("null", Found::Null),
            Some(b't') => self.word("true", Found::Bool(true)),
            Some(b'f') => self.word("false", Found::Bool(false)),
            Some(b'"') => self.string().map(Found::Text),
            Some(b'[') => self.open(Found::List),
            Some(b'{') => self.open(Found::Map),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => None,
        };
        found.ok_or_else(|| self.broken())
    }

    /// Skips a `null`, if there is one.
    pub(super) fn skip_null(&mut self) -> Result<bool, Problem> {
        let is_null = self.peek() == Some(b'n');
        if is_null {
            self.value()?;
        }
        Ok(is_null)
    }

    /// Goes to an item of a list; false at its end.
    pub(super) fn next_item(&mut self, item: usize) -> Result<bool, Problem> {
        let more = self.next(item == 0, b']')?;
        if more {
            self.path.push(Step::Item(item));
        }
        Ok(more)
    }

    /// Reads the next key of a map and goes to its value; none at its end.
    pub(super) fn next_key(&mut self, is_first: bool) -> Result<Option<String>, Problem> {
        if !self.next(is_first, b'}')? {
            return Ok(None);
        }
        let key = if self.peek() == Some(b'"') { self.string() } else { None };
        let key = key.ok_or_else(|| self.broken())?;
        if !self.skip(b':') {
            return Err(self.broken());
        }
        self.path.push(Step::Key(key.clone()));
        Ok(Some(key))
    }

    /// The value of an item or a key has been read.
    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    /// Reads the end of a list or a map.
    pub(super) fn close(&mut self, bracket: u8) -> Result<(), Problem> {
        self.depth -= 1;
        if self.skip(bracket) { Ok(()) } else { Err(Problem::custom("there is more than expected")) }
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) -> Result<(), Problem> {
        if self.peek().is_none() { Ok(()) } else { Err(self.broken()) }
    }

    fn broken(&self) -> Problem {
        Problem(format!("the configuration is no JSON from byte {} on", self.at))
    }

    fn rest(&self) -> &'j str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.rest().trim_start_matches([' ', '\t', '\n', '\r']);
        self.at = self.text.len() - rest.len();
        rest.bytes().next()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// Goes behind the comma before another item or key; false before the closing bracket.
    fn next(&mut self, is_first: bool, bracket: u8) -> Result<bool, Problem> {
        match self.peek() {
            Some(byte) if byte == bracket => Ok(false),
            Some(_) if is_first || self.skip(b',') => Ok(true),
            _ => Err(self.broken()),
        }
    }

    fn word(&mut self, word: &str, found: Found) -> Option<Found> {
        self.rest().starts_with(word).then(|| {
            self.at += word.len();
            found
        })
    }

    fn open(&mut self, found: Found) -> Option<Found> {
        self.depth += 1;
        self.at += 1;
        (self.depth <= MAX_DEPTH).then_some(found)
    }

    fn number(&mut self) -> Option<Found> {
        let rest = self.rest();
        let len =
            rest.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
        let text = rest.get(..len)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        // What Rust reads as a number and JSON does not.
        let mut bytes = digits.bytes();
        if !bytes.next()?.is_ascii_digit()
            || digits.starts_with('0') && bytes.next().is_some_and(|b| b.is_ascii_digit())
        {
            return None;
        }
        if digits.ends_with('.') || digits.contains(".e") || digits.contains(".E") {
            return None;
        }
        self.at += len;
        if let Ok(number) = text.parse() {
            return Some(Found::Unsigned(number));
        }
        match text.parse() {
            Ok(number) if number != 0 => Some(Found::Signed(number)),
            // With a fraction or an exponent, beyond 64 bits, or `-0`.
            _ => number::parse(text).filter(|number| number.is_finite()).map(Found::Float),
        }
    }

    fn string(&mut self) -> Option<String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(|c| matches!(c, '"' | '\\' | '\0'..='\x1f'))?;
            text.push_str(rest.get(..plain)?);
            self.at += plain + 1;
            match rest.as_bytes().get(plain)? {
                b'"' => return Some(text),
                b'\\' => text.push(self.escape()?),
                _ => return None,
            }
        }
    }

    /// The character that is written behind a backslash.
    fn escape(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(match c {
            '"' | '\\' | '/' => c,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.unit()?;
                // Beyond the first 65,536 characters there are two of them.
                let second = if (0xd800..0xdc00).contains(&unit) {
                    self.at += self.rest().strip_prefix("\\u").map(|_| 2)?;
                    Some(self.unit()?)
                } else {
                    None
                };
                char::decode_utf16(std::iter::once(unit).chain(second)).next()?.ok()?
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.at += 4;
        u16::from_str_radix(digits, 16).ok()
    }
}
