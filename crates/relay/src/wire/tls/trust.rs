//! Whose word on an upstream's name is taken.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::own::{InvalidCertificate, certificates};
use super::provider;

/// The authorities that may vouch for an upstream: this machine's, or those of one file and no others. Clones share what
/// was read; two that were made apart are never equal, so that no connection made under the one serves the other.
#[derive(Debug, Clone)]
pub struct Trust(Arc<Authorities>);

#[derive(Debug)]
struct Authorities {
    file: Option<PathBuf>,
    read: OnceLock<Arc<ClientConfig>>,
}

/// Why authorities cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAuthority {
    /// Their file cannot be used.
    #[error(transparent)]
    File(#[from] InvalidCertificate),
    /// One of them cannot be used.
    #[error("{} holds an authority that cannot be used: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// This machine has none.
    #[error("this machine's certificate authorities cannot be used: {0}")]
    Machine(rustls::Error),
}

impl Trust {
    /// This machine's authorities, or those in a file in PEM form. Nothing is read yet.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self(Arc::new(Authorities { file, read: OnceLock::new() }))
    }

    /// The file they stand in; `None`: this machine's.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Reads them, unless that was done before. It takes a while: to be called before they are needed.
    pub fn prepare(&self) -> Result<(), InvalidAuthority> {
        self.config().map(drop)
    }

    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, InvalidAuthority> {
        if let Some(config) = self.0.read.get() {
            return Ok(config.clone());
        }
        let read = match self.file() {
            Some(file) => in_file(file),
            None => in_machine().map_err(InvalidAuthority::Machine),
        }?;
        Ok(self.0.read.get_or_init(|| read).clone())
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trust {}

impl Hash for Trust {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

fn in_machine() -> Result<Arc<ClientConfig>, rustls::Error> {
    let verifier = Arc::new(Verifier::new(provider())?);
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?.dangerous();
    Ok(finished(builder.with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

fn in_file(path: &Path) -> Result<Arc<ClientConfig>, InvalidAuthority> {
    let unusable = |error| InvalidAuthority::Unusable { path: path.to_owned(), error };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(unusable)?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    Ok(finished(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    // Each connection proves anew where it leads to: a session that is taken up again shows no certificate.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}
