//! Addresses to listen on, as a configuration writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::section::{Mark, Section};

/// What no name of a host has; with one of these it is a URL, or a slip.
const NOT_IN_NAMES: &[char] = &['/', '\\', '@', '?', '#', '%', '[', ']'];

/// Where somebody listens, and where the configuration says so.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host:port`.
    pub text: String,
    /// For messages.
    pub mark: Mark,
}

/// Two endpoints are the same when they name the same place, wherever that is written.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Endpoint {
    /// The `endpoint` of a section, or the default one. One that nobody could listen on is an error.
    pub fn read(section: &mut Section<'_>, default: &str) -> Self {
        let endpoint = Self { text: section.str_or("endpoint", default), mark: section.mark("endpoint") };
        if let Some(problem) = endpoint.problem() {
            section.error("endpoint", format!("`endpoint`: {problem}"));
        }
        endpoint
    }

    /// Why nobody could listen here on any machine, if that is so.
    pub fn problem(&self) -> Option<String> {
        let reason = parts(&self.text).err()?;
        Some(format!("cannot listen on `{}`: {reason}", self.text))
    }
}

impl Endpoint {
    /// Whether nobody could listen at both. Of hosts' names only `localhost` is known; one that is the same is.
    pub fn excludes(&self, other: &Self) -> bool {
        let (Ok((host, port)), Ok((other, same_port))) = (parts(&self.text), parts(&other.text)) else { return false };
        let others = addresses(other);
        let shares = |one: IpAddr| others.iter().any(|other| share(one, *other));
        port == same_port && port != 0 && (host == other || addresses(host).into_iter().any(shares))
    }
}

/// The addresses of a host as far as it is no name.
fn addresses(host: &str) -> Vec<IpAddr> {
    match host {
        "" => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        other => other.parse().into_iter().collect(),
    }
}

/// Whether a connection to one could be one to the other. `::` takes those by IPv4 as well.
fn share(one: IpAddr, other: IpAddr) -> bool {
    let takes = |all: IpAddr, other: IpAddr| all.is_unspecified() && (all.is_ipv6() || other.is_ipv4());
    one == other || takes(one, other) || takes(other, one)
}

/// Host and port of a `host:port`. An empty host is every address of the machine. No name is looked up.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parts(endpoint: &str) -> Result<(&str, u16), String> {
    if let Some((scheme, _)) = endpoint.split_once("://") {
        return Err(format!("it has to be `host:port`, without `{scheme}://`"));
    }
    let (host, port) = endpoint.rsplit_once(':').ok_or("it has to be `host:port`")?;
    // A sign is a number's, not a port's.
    let number = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.ok_or_else(|| format!("`{port}` is no port"))?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = bare.unwrap_or(host);
    let is_host = if name.contains(':') {
        // Local addresses may name their network: `fe80::1%eth0`.
        name.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
    } else {
        !name.contains(|c: char| c.is_whitespace() || c.is_control() || NOT_IN_NAMES.contains(&c))
    };
    if is_host { Ok((name, number)) } else { Err(format!("`{host}` is no host")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_all_kinds_are_taken_with_any_port() {
        for (endpoint, parts) in [
            ("localhost:4317", ("localhost", 4317)),
            ("127.0.0.1:0", ("127.0.0.1", 0)),
            (":65535", ("", 65535)),
            ("[::1]:4317", ("::1", 4317)),
            ("::1:4317", ("::1", 4317)),
            ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
            ("[localhost]:1", ("localhost", 1)),
            ("under_score.example:1", ("under_score.example", 1)),
            ("bücher.example:1", ("bücher.example", 1)),
        ] {
            assert_eq!(super::parts(endpoint).as_ref(), Ok(&parts), "{endpoint}");
        }
    }

    #[test]
    fn who_takes_the_connections_of_another_excludes_it() {
        let at = |text: &str| Endpoint { text: text.to_owned(), mark: Mark::default() };
        for (one, other, excludes) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("localhost:1", "127.0.0.1:1", true),
            ("localhost:1", "[::1]:1", true),
            ("localhost:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.2:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::]:1", "127.0.0.1:1", true),
            (":1", "[::1]:1", true),
            ("[::1]:1", "127.0.0.1:1", false),
            ("host.example:1", "host.example:1", true),
            ("host.example:1", "127.0.0.1:1", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1", "127.0.0.1", false),
        ] {
            assert_eq!(
                (at(one).excludes(&at(other)), at(other).excludes(&at(one))),
                (excludes, excludes),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn what_cannot_be_listened_on_is_told_with_the_reason() {
        for (endpoint, reason) in [
            ("", "it has to be `host:port`"),
            ("localhost", "it has to be `host:port`"),
            ("localhost:", "`` is no port"),
            ("localhost:abc", "`abc` is no port"),
            ("localhost:99999", "`99999` is no port"),
            ("localhost:+80", "`+80` is no port"),
            ("http://localhost:4317", "it has to be `host:port`, without `http://`"),
            ("local host:1", "`local host` is no host"),
            ("localhost/v1:1", "`localhost/v1` is no host"),
            ("[::1:1", "`[::1` is no host"),
            ("::1", "`:` is no host"),
        ] {
            assert_eq!(parts(endpoint), Err(reason.to_owned()), "{endpoint}");
        }
    }
}
