//! `basicauth`: a user name and a password (RFC 7617).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::secret::Secret;
use crate::config::section::Section;
use crate::reread::{Reread, read_text};

/// How many credentials are remembered as right: a hash that is slow on purpose is computed once
/// for each sender, not once for each request.
const REMEMBERED: usize = 1024;

/// The extension. Cheap to clone.
#[derive(Clone)]
pub struct Basic {
    settings: Settings,
    users: Option<Arc<Reread<Users>>>,
    own: Option<Arc<Reread<HeaderValue>>>,
    /// Slow hashes are computed one at a time, whoever asks.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Settings {
    users: Vec<Text>,
    own: Option<(Text, Text)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Text {
    Inline(Secret),
    File(PathBuf),
}

/// Who may send.
struct Users {
    passwords: HashMap<String, Secret>,
    right: Mutex<HashSet<[u8; 32]>>,
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Equal when the settings are; what the files hold is no setting.
impl PartialEq for Basic {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Text {
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Inline(_) => None,
            Self::File(path) => Some(path.clone()),
        }
    }

    fn read(&self) -> Result<String, String> {
        match self {
            Self::Inline(secret) => Ok(secret.text().to_owned()),
            Self::File(path) => read_text(path).map_err(|error| format!("{}: {error}", path.display())),
        }
    }
}

impl Basic {
    /// Reads the settings and the files that they name; `None` if something is wrong with them.
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let mut users = Vec::new();
        if let Some(mut htpasswd) = section.section("htpasswd") {
            users.extend(htpasswd.path("file").map(Text::File));
            users.extend(htpasswd.str("inline").map(|text| Text::Inline(Secret::new(text))));
            if users.is_empty() {
                htpasswd.complain("`file` or `inline` is needed");
            }
            htpasswd.finish();
        }
        let own = section.section("client_auth").and_then(|mut own| {
            let user = text(&mut own, "username");
            let password = text(&mut own, "password");
            if user.is_none() || password.is_none() {
                own.complain("`username` and `password` are needed, or `username_file` and `password_file`");
            }
            own.finish();
            user.zip(password)
        });
        if !section.has("htpasswd") && !section.has("client_auth") {
            section.complain("`htpasswd` (for receivers) or `client_auth` (for exporters) is needed");
        }
        let basic = Self::load(Settings { users, own });
        let basic = basic.map_err(|(key, reason)| section.error(key, format!("`{key}`: {reason}"))).ok();
        section.finish();
        basic
    }

    fn load(settings: Settings) -> Result<Self, (&'static str, String)> {
        let texts = settings.users.clone();
        let users = (!texts.is_empty()).then(|| {
            let files = texts.iter().filter_map(Text::file).collect();
            Reread::new(files, move || Users::read(&texts)).map(Arc::new).map_err(|reason| ("htpasswd", reason))
        });
        let own = settings.own.clone().map(|(user, password)| {
            let files = user.file().into_iter().chain(password.file()).collect();
            Reread::new(files, move || own_header(&user, &password))
                .map(Arc::new)
                .map_err(|reason| ("client_auth", reason))
        });
        Ok(Self { settings, users: users.transpose()?, own: own.transpose()?, turn: Arc::default() })
    }

    /// Whether it knows who may send.
    pub fn knows_users(&self) -> bool {
        self.users.is_some()
    }

    /// Whether it knows what to send.
    pub fn knows_credentials(&self) -> bool {
        self.own.is_some()
    }

    /// Whether `Authorization` names a user with the right password. The first time takes as long as
    /// the password's hash does, on a thread of its own.
    pub async fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(users) = self.users.as_ref().map(|users| users.get()) else { return false };
        let Some(value) = headers.get(AUTHORIZATION) else { return false };
        let seen: [u8; 32] = Sha256::digest(value.as_bytes()).into();
        if users.has_seen(&seen) {
            return true;
        }
        let Some((user, password)) = credentials(value.as_bytes()) else { return false };
        let _turn = self.turn.lock().await;
        // Whoever had the turn before may have had the same to ask.
        if users.has_seen(&seen) {
            return true;
        }
        let checked = Arc::clone(&users);
        let right = tokio::task::spawn_blocking(move || checked.has(&user, &password)).await.unwrap_or(false);
        if right {
            users.remember(seen);
        }
        right
    }

    /// The header with our own user name and password.
    pub fn credentials(&self) -> Option<(HeaderName, HeaderValue)> {
        let value = HeaderValue::clone(&self.own.as_ref()?.get());
        Some((AUTHORIZATION, value))
    }
}

fn text(section: &mut Section<'_>, key: &str) -> Option<Text> {
    let file_key = format!("{key}_file");
    let inline = section.str(key).map(|text| Text::Inline(Secret::new(text)));
    let file = section.path(&file_key).map(Text::File);
    if inline.is_some() && file.is_some() {
        section.error(&file_key, format!("`{file_key}`: there is `{key}` already: say it once"));
    }
    inline.or(file)
}

fn own_header(user: &Text, password: &Text) -> Result<HeaderValue, String> {
    let (user, password) = (user.read()?, password.read()?);
    // Editors end files with a line break.
    let (user, password) = (user.trim_end_matches(['\r', '\n']), password.trim_end_matches(['\r', '\n']));
    if user.contains(':') {
        return Err("a user name must not hold a `:`".to_owned());
    }
    let value = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    let mut value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The user and the password of an `Authorization` header.
fn credentials(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let (user, password) = decoded.split_at(colon);
    Some((String::from_utf8(user.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

impl Users {
    fn read(texts: &[Text]) -> Result<Self, String> {
        let mut passwords = HashMap::new();
        for text in texts {
            for line in text.read()?.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let (user, password) = line.split_once(':').ok_or("a line is not `user:password`")?;
                if password.starts_with('{') || password.starts_with('$') && !is_bcrypt(password) {
                    return Err(format!(
                        "the password of `{user}` is hashed in a way that is not supported: use bcrypt (`htpasswd -B`)"
                    ));
                }
                passwords.insert(user.to_owned(), Secret::new(password));
            }
        }
        if passwords.is_empty() {
            return Err("it names no user".to_owned());
        }
        Ok(Self { passwords, right: Mutex::default() })
    }

    /// Whether the password is the user's. Slow.
    fn has(&self, user: &str, password: &[u8]) -> bool {
        match self.passwords.get(user) {
            Some(known) if is_bcrypt(known.text()) => bcrypt::verify(password, known.text()).unwrap_or(false),
            Some(known) => known.is(password),
            None => false,
        }
    }

    fn has_seen(&self, credentials: &[u8; 32]) -> bool {
        self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(credentials)
    }

    fn remember(&self, credentials: [u8; 32]) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() < REMEMBERED {
            right.insert(credentials);
        }
    }
}

fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix))
}
