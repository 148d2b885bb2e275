//! A gate behind HTTPS: its certificate is checked against this machine's authorities, a private one too.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::scripted::Scripted;
use crate::support::{Gate, Home, Run, Token, connect};

/// HTTPS in front of a gate, for `localhost` alone.
struct Front {
    server: Scripted,
    /// Whom to trust, as PEM.
    authority: String,
}

impl Front {
    /// With a certificate that vouches for itself, for `localhost`; and may vouch for others, or may not.
    fn of_itself(gate: &Gate, is_ca: IsCa) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut own = CertificateParams::new(["localhost".to_owned()]).unwrap();
        own.is_ca = is_ca;
        let own = own.self_signed(&key).unwrap();
        Self::showing(gate, own.der().clone(), &key, own.pem())
    }

    fn of(gate: &Gate) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self::showing(gate, own.der().clone(), &key, certificate.pem())
    }

    fn showing(gate: &Gate, own: CertificateDer<'static>, key: &KeyPair, authority: String) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![own], key).unwrap());
        let address = gate.address();
        let server = Scripted::new(move |stream, _| {
            let mut client = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            // A client that does not trust us ends here.
            let _ = relay(&mut client, &connect(address));
        });
        Self { server, authority }
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.server.url().rsplit(':').next().unwrap())
    }
}

/// One request and its answer after the other: a request is in one piece here, and ends with what it has sent.
fn relay(client: &mut StreamOwned<ServerConnection, TcpStream>, gate: &TcpStream) -> std::io::Result<()> {
    use std::io::Read;
    let (mut gate_in, mut gate_out) = (gate.try_clone()?, gate);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = client.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        gate_out.write_all(&buffer[..count])?;
        let count = gate_in.read(&mut buffer)?;
        client.write_all(&buffer[..count])?;
        client.flush()?;
    }
}

fn whoami(home: &Home, url: &str, token: &Token, authorities: Option<&Path>) -> Run {
    let mut command = home.command(&["status", "--server", url]);
    command.env("FALLGATE_TOKEN", &token.secret).env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
    if let Some(authorities) = authorities {
        command.env("SSL_CERT_FILE", authorities);
    }
    Run::of(command, b"")
}

#[test]
fn a_gates_certificate_is_checked_against_this_machines_authorities() {
    let gate = Gate::start();
    let token = gate.token("ada");
    let front = Front::of(&gate);
    let home = Home::new();
    let authorities = home.beside().join("authority.pem");
    std::fs::write(&authorities, &front.authority).unwrap();

    let url = front.url("localhost");
    assert!(whoami(&home, &url, &token, Some(&authorities)).ok().stdout.contains("ada"));
    let refused = whoami(&home, &url, &token, None).refused(1);
    assert!(refused.contains("cannot be trusted") && refused.contains("SSL_CERT_FILE"), "{refused}");
    // Trusted, but for another name.
    let refused = whoami(&home, &front.url("127.0.0.1"), &token, Some(&authorities)).refused(1);
    assert!(refused.contains("its certificate is for other names"), "{refused}");
    // One that speaks no TLS.
    let plain = format!("https://localhost:{}", gate.address().port());
    let refused = whoami(&home, &plain, &token, Some(&authorities)).refused(1);
    assert!(refused.contains("does not speak TLS"), "{refused}");
    std::fs::write(&authorities, "no certificate").unwrap();
    let refused = whoami(&home, &url, &token, Some(&authorities)).refused(1);
    assert!(refused.contains("SSL_CERT_FILE"), "{refused}");
}

#[test]
fn a_certificate_that_vouches_for_itself_is_taken_where_it_is_trusted_and_else_told_of_in_plain_words() {
    let gate = Gate::start();
    let token = gate.token("ada");
    let home = Home::new();
    let authorities = home.beside().join("authority.pem");
    let ask = |front: &Front, trusted: bool| {
        std::fs::write(&authorities, &front.authority).unwrap();
        whoami(&home, &front.url("localhost"), &token, trusted.then_some(&*authorities))
    };
    // As `openssl req -x509` makes it, and as it should be made.
    let authority = Front::of_itself(&gate, IsCa::Ca(BasicConstraints::Unconstrained));
    let server = Front::of_itself(&gate, IsCa::ExplicitNoCa);
    assert!(ask(&server, true).ok().stdout.contains("ada"));
    let refused = ask(&authority, true).refused(1);
    assert!(refused.contains("(CA:TRUE)") && refused.contains("CA:FALSE"), "{refused}");
    for refused in [refused, ask(&server, false).refused(1), ask(&authority, false).refused(1)] {
        assert!(refused.contains("cannot be trusted: "), "{refused}");
        for raw in ["CaUsed", "Unknown", "invalid peer", "Other(", "io:", "rustls"] {
            assert!(!refused.contains(raw), "{refused}");
        }
    }
}
