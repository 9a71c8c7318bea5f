//! What a user agent says of itself: name and version of the program and of its system, and whether it is a robot.

use std::collections::BTreeMap;

use sluice_sdk::prelude::*;

use crate::insert::{self, FirstString, Value, insert};

/// The block `user_agent`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserAgent {}

/// Where it may be: as it is called now, as it was, and as Envoy calls it.
const SOURCES: [&str; 3] = ["user_agent.original", "http.user_agent", "user_agent"];

const PARTS: [&str; 5] = [
    "user_agent.name",
    "user_agent.version",
    "user_agent.os.name",
    "user_agent.os.version",
    "user_agent.synthetic.type",
];

/// Browsers by the product that only they name, those first that name the others' as well. All say `Mozilla`.
const BROWSERS: [(&str, &str); 11] = [
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Headless Chrome"),
    ("Chrome/", "Chrome"),
    // The version of Safari stands before its name.
    ("Version/", "Safari"),
];

/// Systems by what stands before their version, those first that name others as well.
const SYSTEMS: [(&str, &str); 7] = [
    ("Windows NT ", "Windows"),
    ("iPhone OS ", "iOS"),
    ("CPU OS ", "iOS"),
    ("Android ", "Android"),
    ("Mac OS X ", "macOS"),
    ("CrOS ", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Words that robots have in their names.
const ROBOTS: [&str; 4] = ["bot", "crawler", "spider", "slurp"];

/// What a user agent says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Parts<'a> {
    name: &'a str,
    version: Option<&'a str>,
    os: Option<&'static str>,
    /// With points, which Apple writes as `_`.
    os_version: Option<String>,
    robot: bool,
}

/// Adds what must be granted.
pub fn access(access: Access) -> Access {
    insert::access(access, &SOURCES, &PARTS)
}

/// Takes user agents apart.
///
/// # Errors
/// When the host refuses.
pub fn apply(batch: &Batch<'_>) -> Result<(), Failure> {
    let columns = FirstString::pull(batch, &SOURCES)?;
    let agents: Vec<Option<&str>> = columns.rows().collect();
    // Few programs send many spans.
    let mut parts = BTreeMap::new();
    for &agent in agents.iter().flatten() {
        parts.entry(agent).or_insert_with(|| split(agent));
    }
    for (place, key) in PARTS.into_iter().enumerate() {
        let value = |row: usize| parts.get((*agents.get(row)?)?)?.as_ref()?.part(place).map(Value::Text);
        insert(batch, Table::Spans, key, agents.len(), value)?;
    }
    Ok(())
}

impl Parts<'_> {
    /// The value of an attribute of [`PARTS`].
    fn part(&self, place: usize) -> Option<&str> {
        match place {
            0 => Some(self.name),
            1 => self.version,
            2 => self.os,
            3 => self.os_version.as_deref(),
            _ => self.robot.then_some("bot"),
        }
    }
}

/// What a user agent says; none of what does not begin with a product.
fn split(agent: &str) -> Option<Parts<'_>> {
    let (name, version) = browser(agent).or_else(|| compatible(agent)).or_else(|| first_product(agent))?;
    let found = SYSTEMS.iter().find_map(|(mark, os)| Some((*os, version_at(after(agent, mark)?))));
    let (os, os_version) = found.map_or((None, None), |(os, version)| (Some(os), version));
    let os_version =
        os_version.filter(|_| !matches!(os, Some("Linux" | "ChromeOS"))).map(|text| text.replace('_', "."));
    let lower = name.to_ascii_lowercase();
    let robot = ROBOTS.iter().any(|word| lower.contains(word));
    Some(Parts { name, version, os, os_version, robot })
}

fn browser(agent: &str) -> Option<(&str, Option<&str>)> {
    let (mark, name) = BROWSERS.iter().find(|(mark, _)| agent.contains(mark))?;
    // Others say `Version/` as well.
    let is_known = agent.starts_with("Mozilla/") && (*name != "Safari" || agent.contains("Safari/")) && !robotic(agent);
    is_known.then(|| (*name, after(agent, mark).and_then(version_at)))
}

/// Whether a comment names a program that only says that it is like a browser.
fn robotic(agent: &str) -> bool {
    agent.contains("(compatible; ") || agent.contains("; compatible; ")
}

/// The program in a comment: `(compatible; Googlebot/2.1; …)`.
fn compatible(agent: &str) -> Option<(&str, Option<&str>)> {
    let (_, after) = agent.split_once("compatible; ")?;
    first_product(after.split([';', ')', ' ']).next()?)
}

/// The program that a user agent begins with: `curl/8.5.0`.
fn first_product(agent: &str) -> Option<(&str, Option<&str>)> {
    let product = agent.split([' ', ';', '(']).next()?;
    let (name, version) = product.split_once('/').map_or((product, None), |(name, version)| (name, Some(version)));
    (!name.is_empty()).then_some((name, version.filter(|version| !version.is_empty())))
}

/// What follows something.
fn after<'a>(agent: &'a str, mark: &str) -> Option<&'a str> {
    agent.split_once(mark).map(|(_, after)| after)
}

/// The version that a text begins with.
fn version_at(text: &str) -> Option<&str> {
    text.split([' ', ';', ')', ',']).next().filter(|text| text.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// User agents as their makers publish them.
    #[test]
    fn user_agents_are_taken_apart() {
        type Case =
            (&'static str, &'static str, Option<&'static str>, Option<&'static str>, Option<&'static str>, bool);
        let cases: [Case; 14] = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
                "Chrome",
                Some("120.0.0.0"),
                Some("Windows"),
                Some("10.0"),
                false,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91",
                "Edge",
                Some("120.0.2210.91"),
                Some("Windows"),
                Some("10.0"),
                false,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
                "Safari",
                Some("17.1"),
                Some("macOS"),
                Some("10.15.7"),
                false,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
                "Safari",
                Some("17.1"),
                Some("iOS"),
                Some("17.1.2"),
                false,
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0.6099.50 Mobile/15E148 Safari/604.1",
                "Chrome",
                Some("120.0.6099.50"),
                Some("iOS"),
                Some("16.6"),
                false,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
                "Firefox",
                Some("121.0"),
                Some("Linux"),
                None,
                false,
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36",
                "Samsung Internet",
                Some("23.0"),
                Some("Android"),
                Some("14"),
                false,
            ),
            (
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                "Googlebot",
                Some("2.1"),
                None,
                None,
                true,
            ),
            (
                "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
                "bingbot",
                Some("2.0"),
                None,
                None,
                true,
            ),
            ("curl/8.5.0", "curl", Some("8.5.0"), None, None, false),
            ("grpc-go/1.60.1", "grpc-go", Some("1.60.1"), None, None, false),
            ("kube-probe/1.28", "kube-probe", Some("1.28"), None, None, false),
            ("Go-http-client/1.1", "Go-http-client", Some("1.1"), None, None, false),
            ("Wget", "Wget", None, None, None, false),
        ];
        for (agent, name, version, os, os_version, robot) in cases {
            let expected = Parts { name, version, os, os_version: os_version.map(str::to_owned), robot };
            assert_eq!(split(agent), Some(expected), "{agent}");
        }
        for nothing in ["", " curl/8", "(compatible)"] {
            assert_eq!(split(nothing), None, "{nothing}");
        }
    }
}
