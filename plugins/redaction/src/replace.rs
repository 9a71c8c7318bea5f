//! What stands for what was found.

use std::ops::Range;

use hmac::{Hmac, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use sha3::Sha3_256;

/// What stands for what was masked; the Collector's.
pub const MASK: &[u8] = b"****";

/// How to replace. It holds keys, so it does not show itself.
pub enum Mode {
    /// By [`MASK`].
    Mask,
    /// By nothing. An attribute goes whole.
    Drop,
    /// By its hash in hexadecimal.
    Hash(Hash),
    /// By something that looks like it: digits for digits, letters for letters, the rest as it is.
    /// The same for the same; without the key nobody can tell for what it stands.
    Tokenise(Vec<u8>),
}

/// A hash, and the key of those that have one.
pub enum Hash {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA3-256.
    Sha3,
    /// HMAC with SHA-256.
    HmacSha256(Vec<u8>),
    /// HMAC with SHA-512.
    HmacSha512(Vec<u8>),
}

impl Mode {
    /// Adds what stands for a text.
    pub fn put(&self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Mask => out.extend_from_slice(MASK),
            Self::Drop => {}
            Self::Hash(hash) => {
                for byte in hash.of(text) {
                    out.extend(
                        [byte >> 4, byte & 15]
                            .map(|digit| b"0123456789abcdef".get(usize::from(digit)).copied().unwrap_or_default()),
                    );
                }
            }
            Self::Tokenise(key) => token(key, text, out),
        }
    }

    /// What stands for a whole text.
    pub fn whole(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(text, &mut out);
        out
    }

    /// The text with everything replaced that was found. Ranges may overlap and need no order; those
    /// that do are one.
    pub fn replace(&self, text: &[u8], mut found: Vec<Range<usize>>) -> Vec<u8> {
        found.sort_by_key(|range| range.start);
        let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
        let mut ranges = found.into_iter().peekable();
        while let Some(mut range) = ranges.next() {
            while let Some(next) = ranges.next_if(|next| next.start < range.end) {
                range.end = range.end.max(next.end);
            }
            out.extend_from_slice(text.get(at..range.start).unwrap_or_default());
            at = range.end;
            self.put(text.get(range).unwrap_or_default(), &mut out);
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        out
    }
}

impl Hash {
    fn of(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(text).to_vec(),
            Self::Sha1 => Sha1::digest(text).to_vec(),
            Self::Sha3 => Sha3_256::digest(text).to_vec(),
            Self::HmacSha256(key) => hmac_sha256(key, &[text]),
            Self::HmacSha512(key) => {
                let Ok(mut mac) = Hmac::<Sha512>::new_from_slice(key) else { return Vec::new() };
                mac.update(text);
                mac.finalize().into_bytes().to_vec()
            }
        }
    }
}

/// HMAC takes keys of every length, so there is always one.
fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Bytes of an HMAC with SHA-256.
const BLOCK: usize = 32;

/// Characters are chosen by the HMAC of the text and of the number of the block they are in.
fn token(key: &[u8], text: &[u8], out: &mut Vec<u8>) {
    let (mut block, mut used) = (Vec::new(), 0_usize);
    let mut choose = |first: u8, count: u8| {
        if used.is_multiple_of(BLOCK) {
            block = hmac_sha256(key, &[&((used / BLOCK) as u64).to_be_bytes(), text]);
        }
        let chosen = block.get(used % BLOCK).copied().unwrap_or_default() % count;
        used += 1;
        first + chosen
    };
    for &byte in text {
        match byte {
            b'0'..=b'9' => out.push(choose(b'0', 10)),
            b'A'..=b'Z' => out.push(choose(b'A', 26)),
            // One letter for a character beyond ASCII: its first byte, the others go.
            b'a'..=b'z' | 0xc0.. => out.push(choose(b'a', 26)),
            0x80..=0xbf => {}
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_are_replaced_and_the_rest_is_kept() {
        assert_eq!(Mode::Mask.replace(b"abcdef", vec![4..6, 1..2]), b"a****cd****");
        assert_eq!(Mode::Mask.replace(b"abcdef", vec![1..4, 2..5, 2..3]), b"a****f", "overlapping ranges are one");
        assert_eq!(Mode::Mask.replace(b"abcd", vec![1..2, 2..3]), b"a********d", "side by side they are two");
        assert_eq!(Mode::Drop.replace(b"abcdef", vec![4..6, 1..2]), b"acd");
        assert_eq!(Mode::Mask.replace(b"abc", vec![]), b"abc");
    }

    /// Digests of `abc`: RFC 1321, FIPS 180 and FIPS 202; HMAC: RFC 4231, test case 2.
    #[test]
    fn hashes_are_those_of_the_standards() {
        let hash = |hash: Hash, text: &str| String::from_utf8(Mode::Hash(hash).whole(text.as_bytes())).unwrap();
        assert_eq!(hash(Hash::Md5, "abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hash(Hash::Sha1, "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hash(Hash::Sha3, "abc"), "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
        let text = "what do ya want for nothing?";
        assert_eq!(
            hash(Hash::HmacSha256(b"Jefe".to_vec()), text),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hash(Hash::HmacSha512(b"Jefe".to_vec()), text),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        );
    }

    #[test]
    fn tokens_keep_the_format_and_depend_on_text_and_key() {
        let token =
            |key: &str, text: &str| String::from_utf8(Mode::Tokenise(key.into()).whole(text.as_bytes())).unwrap();
        let shape = |text: &str| -> String {
            text.chars()
                .map(|c| match c {
                    '0'..='9' => '9',
                    'a'..='z' => 'a',
                    'A'..='Z' => 'A',
                    c => c,
                })
                .collect()
        };
        let long = "Ab9-".repeat(40);
        for text in ["4111-1111 1111.1111", "Ada.Lovelace+x@Example.com", &long] {
            assert_eq!(shape(&token("k", text)), shape(text));
            assert_ne!(token("k", text), text);
            assert_eq!(token("k", text), token("k", text));
            assert_ne!(token("k", text), token("other", text));
        }
        assert_ne!(token("k", "4111111111111111"), token("k", "4111111111111112"));
        assert_eq!(shape(&token("k", "jörg@müller.de")), "aaaa@aaaaaa.aa");
    }
}
