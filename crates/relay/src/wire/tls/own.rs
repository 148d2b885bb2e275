//! The certificate that we show to clients, read anew when its files change.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fallgate_domain::clock::Timestamp;
use parking_lot::RwLock;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig};
use tokio::time::sleep;

use super::{HTTP1, HTTP2, provider};
use crate::plain_file::open_plain;

/// How often the files are looked at. What has changed is read once it looks the same twice.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most bytes of such a file: what is larger is another file, named by mistake.
const LARGEST: u64 = 1024 * 1024;

/// The certificate that clients are shown, with its key: two files, and what stands in them.
#[derive(Debug)]
pub struct OwnCertificate {
    files: Files,
    shown: RwLock<Arc<CertifiedKey>>,
    /// How the files looked when they were read at first.
    first: [Look; 2],
}

#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What tells one state of a file from another: inode, size, time of change. `None`: it is not there.
type Look = Option<(u64, u64, i64, i64)>;

/// Why files cannot serve as our certificate.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCertificate {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM form", path.display())]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// They are not a pair.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// TLS cannot work with them.
    #[error("the certificate in {} cannot be used: {error}", certificate.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// Why.
        error: Error,
    },
}

impl OwnCertificate {
    /// Reads both files, in PEM form: the certificate with those that vouch for it behind it, and its key.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>, InvalidCertificate> {
        let files = Files { certificate, key };
        let first = files.look();
        let shown = RwLock::new(Arc::new(files.read()?));
        Ok(Arc::new(Self { files, shown, first }))
    }

    /// Looks after the files: a new pair is shown from then on, to new connections; a bad one is logged, and the old
    /// one stays. Never returns.
    pub async fn watch(self: Arc<Self>) {
        let (mut known, mut last) = (self.first, self.first);
        loop {
            sleep(LOOK_EVERY).await;
            let look = self.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || look.files.look()).await else { continue };
            // Two files are not replaced in one moment: while they still change, they are nothing yet.
            let settled = now == std::mem::replace(&mut last, now);
            if settled && now != known {
                known = now;
                let renew = self.clone();
                // It does not panic; and if it did, the old one would stay.
                let _ = tokio::task::spawn_blocking(move || renew.renew()).await;
            }
        }
    }

    /// Why clients that keep to the rules will not take it now, for those of these names that they may use; each in words.
    pub fn doubts<'n>(&self, names: impl IntoIterator<Item = &'n str>, now: Timestamp) -> Vec<String> {
        let shown = self.shown.read().clone();
        let file = self.files.certificate.display();
        let Some(Ok(certificate)) = shown.cert.first().map(ParsedCertificate::try_from) else {
            return vec![format!("the certificate in {file} cannot be read")];
        };
        let mut doubts = Vec::new();
        doubts.extend(untimely(&certificate, now).map(|why| format!("the certificate in {file} {why}")));
        let uncovered = |name: &&str| {
            let server = ServerName::try_from(name.trim_matches(['[', ']']).to_owned());
            !server.is_ok_and(|server| verify_server_name(&certificate, &server).is_ok())
        };
        let uncovered: Vec<_> = names.into_iter().filter(uncovered).collect();
        if !uncovered.is_empty() {
            doubts.push(format!("the certificate in {file} is not for {}", uncovered.join(" or ")));
        }
        doubts
    }

    fn renew(&self) {
        let certificate = self.files.certificate.display();
        match self.files.read() {
            Ok(read) => {
                *self.shown.write() = Arc::new(read);
                tracing::info!(%certificate, "the certificate has changed; new connections are shown the new one");
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate has changed and cannot be used; the old one stays");
            }
        }
    }

    /// What a listener needs to shake hands.
    pub(crate) fn server_config(self: Arc<Self>) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(Arc::new(config))
    }
}

/// Whether it is too early or too late for that certificate. Its dates are looked at before anything else, so that nobody
/// needs to vouch for it here.
fn untimely(certificate: &ParsedCertificate<'_>, now: Timestamp) -> Option<&'static str> {
    let now = Duration::from_millis(u64::try_from(now.millis()).unwrap_or(0));
    let verified = verify_server_cert_signed_by_trust_anchor(
        certificate,
        &RootCertStore::empty(),
        &[],
        UnixTime::since_unix_epoch(now),
        provider().signature_verification_algorithms.all,
    );
    match verified {
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Some("has expired"),
        Err(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Some("is not valid yet"),
        _ => None,
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.read().clone())
    }
}

impl Files {
    fn read(&self) -> Result<CertifiedKey, InvalidCertificate> {
        let chain = certificates(&self.certificate)?;
        let key = open(&self.key)?;
        let key = PrivateKeyDer::from_pem_reader(key)
            .map_err(|error| unreadable(&self.key, "private key", error))?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            let certificate = self.certificate.clone();
            match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    InvalidCertificate::Mismatch { certificate, key: self.key.clone() }
                }
                error => InvalidCertificate::Unusable { certificate, error },
            }
        })
    }

    fn look(&self) -> [Look; 2] {
        [&self.certificate, &self.key].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
        })
    }
}

/// The certificates in a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, InvalidCertificate> {
    let read = CertificateDer::pem_reader_iter(open(path)?).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|error| unreadable(path, "certificate", error))?;
    if read.is_empty() {
        return Err(InvalidCertificate::Missing { what: "certificate", path: path.to_owned() });
    }
    Ok(read)
}

fn open(path: &Path) -> Result<impl Read, InvalidCertificate> {
    let file =
        open_plain(path).map_err(|error| InvalidCertificate::Unreadable { path: path.to_owned(), error })?;
    Ok(file.take(LARGEST))
}

fn unreadable(path: &Path, what: &'static str, error: rustls::pki_types::pem::Error) -> InvalidCertificate {
    let path = path.to_owned();
    match error {
        rustls::pki_types::pem::Error::Io(error) => InvalidCertificate::Unreadable { path, error },
        _ => InvalidCertificate::Missing { what, path },
    }
}
