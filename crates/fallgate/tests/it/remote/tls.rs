//! A gate behind HTTPS: its certificate is checked against this machine's authorities, a private one too.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
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
    fn of(gate: &Gate) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config =
            Arc::new(config.with_no_client_auth().with_single_cert(vec![own.der().clone()], key).unwrap());
        let address = gate.address();
        let server = Scripted::new(move |stream, _| {
            let mut client = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            // A client that does not trust us ends here.
            let _ = relay(&mut client, &connect(address));
        });
        Self { server, authority: certificate.pem() }
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
    assert!(refused.contains("cannot be trusted"), "{refused}");
    // One that speaks no TLS.
    let plain = format!("https://localhost:{}", gate.address().port());
    let refused = whoami(&home, &plain, &token, Some(&authorities)).refused(1);
    assert!(refused.contains("does not speak TLS"), "{refused}");
    std::fs::write(&authorities, "no certificate").unwrap();
    let refused = whoami(&home, &url, &token, Some(&authorities)).refused(1);
    assert!(refused.contains("SSL_CERT_FILE"), "{refused}");
}
