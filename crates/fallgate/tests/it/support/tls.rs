//! Certificates of a test's own making, and TLS in front of a server or behind a client.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::connect;
use super::scripted::Scripted;

/// The gate's side of a connection, seen from an upstream.
pub(crate) type ServerStream = StreamOwned<ServerConnection, TcpStream>;
/// The gate's side of a connection, seen from a client.
pub(crate) type ClientStream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate authority that nobody knows, and a folder for what it signs.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut own = CertificateParams::new([]).unwrap();
        // Two of one name would be one to whoever looks for an issuer.
        own.distinguished_name.push(DnType::CommonName, folder.path().display().to_string());
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = own.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { certificate: certificate.der().clone(), issuer: Issuer::new(own, key), folder }
    }

    /// Where its own certificate lies.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for these names; files of that name are replaced, as tools that renew certificates do it.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Pair {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        self.write(file, &CertificateParams::new(names).unwrap())
    }

    /// One that was good until long ago.
    pub(crate) fn issue_expired(&self, file: &str, names: &[&str]) -> Pair {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut asked = CertificateParams::new(names).unwrap();
        asked.not_before = date_time_ymd(2001, 1, 1);
        asked.not_after = date_time_ymd(2001, 12, 31);
        self.write(file, &asked)
    }

    fn write(&self, file: &str, asked: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = asked.signed_by(&key, &self.issuer).unwrap();
        let pair = Pair {
            cert: self.folder.path().join(format!("{file}.pem")),
            key: self.folder.path().join(format!("{file}.key")),
        };
        put(&pair.cert, certificate.pem().as_bytes());
        put(&pair.key, key.serialize_pem().as_bytes());
        pair
    }

    /// Speaks TLS to whoever listens there, as a client that trusts this authority and no other.
    pub(crate) fn client(&self, address: SocketAddr, name: &str) -> ClientStream {
        self.client_over(connect(address), name)
    }

    pub(crate) fn client_over(&self, stream: TcpStream, name: &str) -> ClientStream {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(name.to_owned()).unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
    }
}

impl Pair {
    /// The certificate, as it goes over the wire.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.cert).unwrap()
    }

    /// The hash of its public key by which Chromium can be told to trust it (`--ignore-certificate-errors-spki-list`).
    pub(crate) fn fingerprint(&self) -> String {
        let key = KeyPair::from_pem(&fs::read_to_string(&self.key).unwrap()).unwrap();
        STANDARD.encode(Sha256::digest(key.subject_public_key_info()))
    }

    /// A server that shows this certificate; every connection is played on a thread of its own. A client that does not
    /// want the certificate ends its play.
    pub(crate) fn server(&self, play: impl Fn(ServerStream) + Send + Sync + 'static) -> Scripted {
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let config =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![self.certificate()], key).unwrap();
        let config = Arc::new(config);
        Scripted::new(move |mut stream, _| {
            let mut session = ServerConnection::new(config.clone()).unwrap();
            if session.complete_io(&mut stream).is_ok() {
                play(StreamOwned::new(session, stream));
            }
        })
    }
}

/// As `mv` does it: never half of a file.
fn put(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
