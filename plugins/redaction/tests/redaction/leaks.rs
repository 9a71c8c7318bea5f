//! The corpus of leaks: what must not leave, in many forms and in every place; and what must not be
//! touched. The report is printed with `--show-output`.
#![allow(clippy::print_stdout)]

use std::fmt::Write as _;

use super::others::{MISSES, NON_SECRETS};
use super::places::everywhere;
use super::seeds::*;
use super::*;

const KINDS: [(&str, &[Seed]); 10] = [
    ("email", EMAILS),
    ("ipv4", IPV4),
    ("ipv6", IPV6),
    ("phone", PHONES),
    ("iban", IBANS),
    ("jwt", JWTS),
    ("bearer_token", BEARERS),
    ("api_key", API_KEYS),
    ("url_credentials", URL_CREDENTIALS),
    ("url_query_secrets", URL_QUERY_SECRETS),
];

fn only(detector: &str) -> String {
    format!(r#"{{"allow_all_keys": true, "detectors": ["{detector}"]}}"#)
}

/// Everything but national ids, which every number of the right length could be.
fn all() -> String {
    let names: Vec<_> = KINDS.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    format!(r#"{{"allow_all_keys": true, "detectors": ["payment_card", {}]}}"#, names.join(", "))
}

/// Texts in which a secret stands as they are seen in traces.
fn forms(secret: &str) -> Vec<String> {
    let escaped = secret.replace('\\', "\\\\").replace('"', "\\\"");
    vec![
        secret.to_owned(),
        format!("it was {secret}, or so"),
        format!("it was {secret}."),
        format!("(\"{secret}\")"),
        format!("{{\"user\":{{\"note\":\"{escaped}\",\"n\":17}}}}"),
        format!(
            "java.lang.IllegalStateException: cannot take {secret}\n\tat shop.Checkout.pay(Checkout.java:117)\n\tat java.base/java.lang.Thread.run(Thread.java:840)"
        ),
        format!("m\u{f6}chte {secret} \u{2014} gr\u{fc}\u{df}e"),
        format!("{} {secret} {}", "x".repeat(70_000), "y".repeat(70_000)),
    ]
}

/// Puts dashes or the like after every fourth digit.
fn grouped(card: &str, with: &str) -> String {
    let groups: Vec<_> = card.as_bytes().chunks(4).map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(with)
}

#[test]
fn cards_leave_in_no_form() {
    let config = only("payment_card");
    let mut texts = 0;
    for card in CARDS {
        let mut written = vec![(*card).to_owned()];
        written.extend([" ", "-", "%20", "+"].map(|with| grouped(card, with)));
        for card in written {
            let mut forms = forms(&card);
            forms.push(format!("https://shop.example/pay?card={card}&cvv=123"));
            forms.push(format!("%7B%22card%22%3A%22{card}%22%7D"));
            forms.push(format!("/pay/{card}/confirm"));
            for text in forms {
                assert!(!value(&config, &text).contains(&card), "{card} in {}", text.get(..120).unwrap_or(&text));
                texts += 1;
            }
        }
        for before in ["", "x", "xy", "{\"card\":\""] {
            let encoded = base64url(format!("{before}{card}\"}}").as_bytes());
            let after = value(&config, &format!("/x?state={encoded}&y=1"));
            assert_eq!(after, "/x?state=****&y=1", "{before}{card}");
            texts += 1;
        }
    }
    println!("payment_card: {} numbers in {texts} texts, 0 misses", CARDS.len());
}

/// RFC 4648 §5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for i in 0..=three.len() {
            out.push(ALPHABET[(bits >> (18 - 6 * i) & 63) as usize] as char);
        }
    }
    out
}

#[test]
fn secrets_leave_in_no_form() {
    let every = all();
    for (name, seeds) in KINDS {
        assert!(seeds.len() >= 20, "{name} has {} seeds", seeds.len());
        let (config, mut texts) = (only(name), 0);
        for (seed, secret) in seeds {
            // Parameters begin where a URL or a text does.
            let all = forms(seed).into_iter().filter(|text| {
                text.starts_with(seed) || seed.contains("://") || seed.starts_with('/') || name != "url_query_secrets"
            });
            for text in all {
                for config in [&config, &every] {
                    let after = value(config, &text);
                    assert!(!after.contains(secret), "{name}: {secret} in {}", after.get(..200).unwrap_or(&after));
                }
                texts += 1;
            }
        }
        println!("{name}: {} seeds in {texts} texts, 0 misses", seeds.len());
    }
    for (country, (seed, secret)) in NATIONAL_IDS {
        for text in forms(seed) {
            assert!(!value(&only(&format!("national_id/{country}")), &text).contains(secret), "{country}: {secret}");
        }
    }
    println!("national_id: {} seeds, 0 misses", NATIONAL_IDS.len());
}

/// Wherever a string can be, a seed of each kind.
#[test]
fn secrets_leave_from_no_place() {
    for (name, seeds) in KINDS {
        let (seed, secret) = seeds[0];
        let wire = redacted(&only(name), &everywhere(&format!(" {seed} "))).encode_to_vec();
        // A tracestate cannot hold every secret, and what is not one has no other reader.
        let left = wire.windows(secret.len()).filter(|window| *window == secret.as_bytes()).count();
        assert_eq!(left, 0, "{name}");
    }
}

/// Texts are searched back to back: what stands before and behind one must not hide anything in it.
#[test]
fn the_values_beside_a_secret_do_not_hide_it() {
    let beside = ["a", "Z", "9", "-", ".", "_", "=", "%", "@", ":", "+", "eyJ", "4111"];
    for (name, seeds) in KINDS {
        for (seed, secret) in seeds {
            for other in beside {
                let after = attributes(&only(name), vec![text("a", other), text("b", seed), text("c", other)]);
                let left = after[1].encode_to_vec();
                assert!(
                    !left.windows(secret.len()).any(|window| window == secret.as_bytes()),
                    "{name}: {seed} beside {other}"
                );
                assert_eq!((&after[0], &after[2]), (&text("a", other), &text("c", other)));
            }
        }
    }
}

/// A report that hides its misses is worth nothing: these are known, and a test says when one is gone.
#[test]
fn known_misses_are_still_missed() {
    for (name, (seed, secret)) in MISSES {
        assert!(value(&only(name), seed).contains(secret), "{name} finds {seed}: say so in the README");
        println!("{name}: misses {seed}");
    }
}

#[test]
fn what_is_no_secret_stays() {
    let config = all();
    let changed: Vec<_> = NON_SECRETS
        .iter()
        .map(|before| (*before, value(&config, before)))
        .filter(|(before, after)| before != after)
        .collect();
    println!("{} texts that are no secrets, {} false hits", NON_SECRETS.len(), changed.len());
    assert!(changed.is_empty(), "{changed:?}");
}

/// Ten thousand each of what traces are full of, from a fixed seed.
#[test]
fn ids_of_traces_are_no_secrets() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let config = all();
    let mut report = String::new();
    let mut kind = |name: &str, most: usize, make: &mut dyn FnMut() -> String| {
        let before: Vec<_> = (0..10_000).map(|i| text(&format!("k{i}"), &make())).collect();
        let after = attributes(&config, before.clone());
        let changed: Vec<_> =
            before.iter().zip(&after).filter(|(before, after)| before != after).map(|(before, _)| before).collect();
        writeln!(report, "{name}: {} of 10,000 changed", changed.len()).unwrap();
        assert!(changed.len() <= most, "{name}: {:?}", changed.iter().take(5).collect::<Vec<_>>());
    };
    kind("trace ids", 0, &mut || format!("{:016x}{:016x}", random(), random()));
    let mut random = {
        let mut state = 1_u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        }
    };
    kind("UUIDs", 0, &mut || {
        let (a, b) = (random(), random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 20 & 0xffff_ffff,
            a & 0xffff,
            b & 0xfff,
            0x8000 | b >> 16 & 0x3fff,
            (a ^ b << 7) & 0xffff_ffff_ffff
        )
    });
    kind("nanoseconds since 1970", 0, &mut || {
        (1_700_000_000_000_000_000 + random() % 100_000_000_000_000_000).to_string()
    });
    kind("build hashes", 0, &mut || {
        format!("{:013x}{:013x}{:014x}", random() & 0xf_ffff_ffff_ffff, random() & 0xf_ffff_ffff_ffff, random())
    });
    kind("waybill numbers", 0, &mut || format!("WB-{:04}-{:04}", random() % 10_000, random() % 10_000));
    kind("versions", 0, &mut || format!("v{}.{}.{}.{}", random() % 30, random() % 100, random() % 100, random() % 100));
    kind("ports", 0, &mut || format!("cart-{}:{}", random() % 10, random() % 65_536));
    println!("{report}");
}

/// Nothing takes longer than the square of its length would: each of these is a megabyte.
#[test]
fn long_hostile_texts_are_scanned_in_time() {
    let config = all();
    for piece in [
        "eyJ",
        "%40",
        "@",
        "a@",
        "1.",
        "1:",
        "::",
        "+1",
        "-----BEGIN PRIVATE KEY-----",
        "api_key=",
        "token=",
        "?token=",
        "bearer ",
        "://",
        "4111-",
        "DE12",
        "NDEx",
        "_",
        "-",
        "SG.",
        "4",
        "%20",
    ] {
        let text = piece.repeat((1 << 20) / piece.len());
        let started = std::time::Instant::now();
        value(&config, &text);
        let took = started.elapsed();
        assert!(took.as_secs() < 10, "{piece}: {took:?}");
    }
}

/// Whatever is sent, the host takes the edits (which must be UTF-8), and what arrives decodes.
#[test]
fn texts_of_any_characters_stay_texts() {
    const PIECES: [&str; 40] = [
        "4",
        "11",
        "4111111111111111",
        " ",
        "-",
        "+",
        "%20",
        "%40",
        "@",
        ".",
        ":",
        "/",
        "://",
        "=",
        "&",
        "?",
        "eyJ",
        "bearer ",
        "_",
        "I",
        "SG.",
        "key",
        "api",
        "DE12",
        "x",
        "Z",
        "\u{e9}",
        "\u{1f600}",
        "\u{20ac}",
        "*",
        "token",
        "(212)",
        "555-0100",
        "192.0.2.1",
        "2001:db8::",
        "-----BEGIN PRIVATE KEY-----",
        "a.b",
        "\"",
        "\\",
        "MTEx",
    ];
    let mut state = 7_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let texts: Vec<_> = (0..20_000)
        .map(|i| {
            let made: String = (0..random(14)).map(|_| PIECES[random(PIECES.len())]).collect();
            text(&format!("k{i}"), &made)
        })
        .collect();
    let once = attributes(&all(), texts.clone());
    assert_ne!(once, texts);
    assert_eq!(once.len(), texts.len());
    for (before, after) in texts.iter().zip(&once) {
        assert_eq!(before.key, after.key);
    }
}
