//! Whose word on an upstream's name is taken.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::own::{InvalidCertificate, certificates};
use super::{ALPN, provider};

/// The authorities that may vouch for an upstream: this machine's, or those of one file and no others.
#[derive(Debug, Clone)]
pub struct Trust {
    file: Option<PathBuf>,
    config: Arc<ClientConfig>,
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
    /// This machine's authorities, as every program here trusts them.
    pub fn in_machine() -> Result<Self, InvalidAuthority> {
        let verifier = Verifier::new(provider()).map_err(InvalidAuthority::Machine)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(InvalidAuthority::Machine)?;
        let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(Self::of(None, config.with_no_client_auth()))
    }

    /// The authorities in a file in PEM form.
    pub fn in_file(path: &Path) -> Result<Self, InvalidAuthority> {
        let unusable = |error| InvalidAuthority::Unusable { path: path.to_owned(), error };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(unusable)?;
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        Ok(Self::of(Some(path.to_owned()), builder.with_root_certificates(roots).with_no_client_auth()))
    }

    fn of(file: Option<PathBuf>, mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Each connection proves anew who it leads to: a session taken up again would show no certificate.
        config.resumption = Resumption::disabled();
        Self { file, config: Arc::new(config) }
    }

    /// The file they stand in; `None`: this machine's.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

/// The same authorities, wherever and whenever they were read.
impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl Eq for Trust {}
