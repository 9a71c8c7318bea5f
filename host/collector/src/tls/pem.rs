//! Certificates and keys as PEM, in a file or in the configuration itself.

use std::fmt;
use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::section::Section;
use crate::reread::read;

/// PEM text and the key of the configuration that it comes from.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pem {
    key: String,
    from: From,
}

#[derive(Clone, PartialEq, Eq)]
enum From {
    File(PathBuf),
    Inline(String),
}

/// Keys are secrets.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Pem {
    /// Reads `WHAT_file` or `WHAT_pem`; with both, the second is an error.
    pub fn read(section: &mut Section<'_>, what: &str) -> Option<Self> {
        let (file, inline) = (format!("{what}_file"), format!("{what}_pem"));
        let path = section.path(&file).map(|path| Self { key: file.clone(), from: From::File(path) });
        let text = section.str(&inline).map(|text| Self { key: inline.clone(), from: From::Inline(text) });
        if path.is_some() && text.is_some() {
            section.error(&inline, format!("`{inline}`: there is `{file}` already: say it once"));
        }
        path.or(text)
    }

    /// The same for what can only be in a file.
    pub fn read_file(section: &mut Section<'_>, key: &str) -> Option<Self> {
        section.path(key).map(|path| Self { key: key.to_owned(), from: From::File(path) })
    }

    /// For messages: the key and the file.
    fn name(&self) -> String {
        match &self.from {
            From::File(path) => format!("tls.{} {}", self.key, path.display()),
            From::Inline(_) => format!("tls.{}", self.key),
        }
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.from {
            From::File(path) => Some(path.clone()),
            From::Inline(_) => None,
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        match &self.from {
            From::File(path) => read(path).map_err(|error| format!("{}: {error}", self.name())),
            From::Inline(text) => Ok(text.clone().into_bytes()),
        }
    }

    /// The certificates, at least one.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let bytes = self.bytes()?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let all = all.map_err(|error| format!("{}: {error}", self.name()))?;
        if all.is_empty() {
            return Err(format!("{}: it holds no certificate", self.name()));
        }
        Ok(all)
    }

    /// The first private key.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        // What is wrong with a key is told without any of it.
        PrivateKeyDer::from_pem_slice(&self.bytes()?).map_err(|_| format!("{}: it holds no private key", self.name()))
    }

    /// The certificates as authorities to trust.
    pub fn authorities(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", self.name()))?;
        }
        Ok(roots)
    }
}

/// A certificate with its chain, and the key that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    certificate: Pem,
    key: Pem,
}

impl Identity {
    /// Reads `cert_file` or `cert_pem`, and `key_file` or `key_pem`. One without the other is an
    /// error, and so is neither where one is `needed`.
    pub fn read(section: &mut Section<'_>, needed: bool) -> Option<Self> {
        let missing = match (Pem::read(section, "cert"), Pem::read(section, "key")) {
            (Some(certificate), Some(key)) => return Some(Self { certificate, key }),
            (None, None) if !needed => return None,
            (None, None) => "a certificate and its key are needed: `cert_file` and `key_file`",
            (Some(_), None) => "the certificate's key is needed as well: `key_file`",
            (None, Some(_)) => "the key's certificate is needed as well: `cert_file`",
        };
        section.complain(missing);
        None
    }

    /// The chain and the key.
    pub fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        Ok((self.certificate.certificates()?, self.key.private_key()?))
    }

    /// What it is called in messages about the pair.
    pub fn name(&self) -> String {
        self.certificate.name()
    }

    pub fn parts(&self) -> [&Pem; 2] {
        [&self.certificate, &self.key]
    }
}
