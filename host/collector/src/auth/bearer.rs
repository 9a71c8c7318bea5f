//! `bearertokenauth`: a token in a header.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::secret::Secret;
use crate::config::section::Section;
use crate::reread::{Reread, read_text};

/// The extension. Cheap to clone.
#[derive(Clone)]
pub struct Bearer {
    settings: Settings,
    tokens: Arc<Reread<Vec<Secret>>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Settings {
    header: HeaderName,
    /// In front of the token, with the space between; empty if there is no scheme.
    prefix: String,
    source: Source,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Tokens(Vec<Secret>),
    File(PathBuf),
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Equal when the settings are; other tokens in the same file are no other setting.
impl PartialEq for Bearer {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Bearer {
    /// Reads the settings and the file that they name; `None` if something is wrong with them.
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let name = section.str_or("header", "Authorization");
        let header = HeaderName::try_from(&name).ok();
        if header.is_none() {
            section.error("header", format!("`header`: `{name}` is no header name"));
        }
        let scheme = section.str_or("scheme", "Bearer");
        let prefix = if scheme.is_empty() { scheme } else { format!("{scheme} ") };
        let token: Vec<_> = section.str("token").into_iter().map(Secret::new).collect();
        let tokens: Vec<_> = section.strings("tokens").into_iter().map(Secret::new).collect();
        let file = section.path("filename").map(Source::File);
        let inline = [token, tokens].into_iter().filter(|tokens| !tokens.is_empty()).map(Source::Tokens);
        let mut sources: Vec<_> = inline.chain(file).collect();
        let source = sources.pop();
        if source.is_none() || !sources.is_empty() {
            section.complain("one of `token`, `tokens` and `filename` is needed");
        }
        let key = match &source {
            Some(Source::File(_)) => "filename",
            _ if section.says("token") => "token",
            _ => "tokens",
        };
        let settings = header.zip(source).map(|(header, source)| Settings { header, prefix, source });
        let problem = |reason: String| format!("`{key}`: {reason}");
        let bearer = settings.map(Self::load);
        let bearer = bearer.and_then(|loaded| loaded.map_err(|reason| section.error(key, problem(reason))).ok());
        section.finish();
        bearer
    }

    fn load(settings: Settings) -> Result<Self, String> {
        let source = settings.source.clone();
        let files = match &source {
            Source::Tokens(_) => Vec::new(),
            Source::File(path) => vec![path.clone()],
        };
        let prefix = settings.prefix.clone();
        let tokens = Reread::new(files, move || {
            let tokens = tokens(&source)?;
            // What cannot be in a header would match nothing, and could not be sent.
            if tokens.iter().any(|token| HeaderValue::try_from(format!("{prefix}{}", token.text())).is_err()) {
                return Err("a token holds characters that a header cannot".to_owned());
            }
            Ok(tokens)
        })?;
        Ok(Self { settings, tokens: Arc::new(tokens) })
    }

    /// Whether the header holds the scheme and one of the tokens.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(&self.settings.header).map(HeaderValue::as_bytes) else { return false };
        let prefix = self.settings.prefix.as_bytes();
        let Some((scheme, token)) = value.split_at_checked(prefix.len()) else { return false };
        // Schemes know no case (RFC 9110 §11.1).
        scheme.eq_ignore_ascii_case(prefix)
            && self.tokens.get().iter().fold(false, |found, known| found | known.is(token))
    }

    /// The header with the first token.
    pub fn credentials(&self) -> Option<(HeaderName, HeaderValue)> {
        let tokens = self.tokens.get();
        let mut value = HeaderValue::try_from(format!("{}{}", self.settings.prefix, tokens.first()?.text())).ok()?;
        value.set_sensitive(true);
        Some((self.settings.header.clone(), value))
    }
}

fn tokens(source: &Source) -> Result<Vec<Secret>, String> {
    let path = match source {
        Source::Tokens(tokens) => return Ok(tokens.clone()),
        Source::File(path) => path,
    };
    let text = read_text(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let tokens: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Secret::new).collect();
    if tokens.is_empty() {
        return Err(format!("{}: it holds no token", path.display()));
    }
    Ok(tokens)
}
