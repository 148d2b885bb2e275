//! Everything that is compared, started on free ports: ours and others', before the same upstream.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use anyhow::bail;

use super::{
    cores,
    load::{LARGE, Subject},
    servers::{Gate, Server, caddy, free_port, nginx, status},
};
use crate::{
    install,
    workspace::{Workspace, run},
};

/// How many tokens the home of the measured gate holds.
const TOKENS: u32 = 100_000;
/// A small answer.
const SMALL: &[u8] = &[b'.'; 512];
/// The file of a large body; sparse.
pub(super) const LARGE_FILE: &str = "large";

/// Where the servers run, where the load, and how many workers each nginx has.
#[derive(Clone, Copy)]
pub(super) struct Placing {
    pub(super) server: Option<u32>,
    pub(super) client: Option<u32>,
    pub(super) workers: u32,
}

/// On more than one core: servers on one and the load on another, and then everything where it likes. On one core
/// there is only the one way.
pub(super) fn placings() -> (Placing, Option<Placing>) {
    let free = Placing { server: None, client: None, workers: 2 };
    if cores() > 1 {
        (Placing { server: Some(0), client: Some(1), workers: 1 }, Some(free))
    } else {
        (Placing { workers: 1, ..free }, None)
    }
}

impl Placing {
    /// For the heading.
    pub(super) fn words(self) -> String {
        match (self.server, self.client) {
            (Some(server), Some(client)) => {
                format!("servers and upstream on CPU {server}, load on CPU {client}")
            }
            _ if self.workers == 1 => "one core, shared by all".to_owned(),
            _ => format!("all on any core, nginx with {} workers", self.workers),
        }
    }
}

/// The programs, and a home with a user, a token of theirs and many others.
pub(super) struct Lab {
    folder: tempfile::TempDir,
    built: PathBuf,
    gate: Gate,
    token: String,
}

/// What is running. Ended when dropped.
pub(super) struct Running<'a> {
    lab: &'a Lab,
    /// The bare hyper server. It is the auth server of the other proxies too: nothing decides faster.
    hyper: Server,
    nginx: Server,
    /// Where the same nginx speaks HTTP/2.
    nginx_http2: u16,
    nginx_asking: Server,
    caddy: Server,
    fallgate: Server,
    /// Who answers behind all of them: files, and the end of uploads.
    _upstreams: [Server; 2],
}

impl Lab {
    /// Builds what is needed and fills the home.
    pub(super) fn open(workspace: &Workspace) -> anyhow::Result<Self> {
        install::packages(install::FOR_BENCHES)?;
        let mut making =
            workspace.cargo(["build", "--quiet", "--release", "--package", "fallgate", "--bin", "fallgate"]);
        run(making.args(["--example", "bare_hyper", "--example", "sink"]))?;
        let folder = tempfile::tempdir()?;
        let built = workspace.target.join("release");
        let gate = Gate::new(built.join("fallgate"), folder.path());
        let token = gate.token()?;
        let mut fill = workspace.cargo(["bench", "--quiet", "--package", "fallgate", "--bench", "numbers"]);
        run(fill.args(["--", "fill"]).arg(gate.home()).arg(TOKENS.to_string()))?;
        let site = folder.path().join("site");
        fs::create_dir_all(&site)?;
        fs::write(site.join("small"), SMALL)?;
        File::create(site.join(LARGE_FILE))?.set_len(LARGE)?;
        Ok(Self { folder, built, gate, token })
    }

    /// The folder with the files that are served and sent.
    pub(super) fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    /// Starts everything: what is not asked costs nothing.
    pub(super) fn run(&self, placing: Placing) -> anyhow::Result<Running<'_>> {
        let start = |name: &str, command: &Command, port: u16, path: &str| {
            Server::start(name, command, (port, path), placing.server, self.folder.path())
        };
        let nginx = |name: &str, site: &str| nginx(&self.folder.path().join(name), placing.workers, site);

        let port = free_port()?;
        let site = format!("server {{ listen 127.0.0.1:{port}; root {}; }}", self.site().display());
        let upstream = start("upstream", &nginx("upstream", &site)?, port, "/small")?;
        let port = free_port()?;
        let sink = start("sink", &self.example("sink", port), port, "/")?;
        let port = free_port()?;
        let hyper = start("bare_hyper", &self.example("bare_hyper", port), port, "/")?;

        let behind = [("app", upstream.port), ("sink", sink.port), ("auth", hyper.port)];
        let (port, nginx_http2) = (free_port()?, free_port()?);
        let site =
            nginx_site(&format!("listen 127.0.0.1:{port}; listen 127.0.0.1:{nginx_http2} http2"), "", behind);
        let plain = start("nginx", &nginx("plain", &site)?, port, SMALL_PATH)?;
        let port = free_port()?;
        let site = nginx_site(&format!("listen 127.0.0.1:{port}"), "auth_request /ask;", behind);
        let nginx_asking = start("nginx_asking", &nginx("asking", &site)?, port, SMALL_PATH)?;
        let port = free_port()?;
        let site = format!(
            "route {{\nforward_auth 127.0.0.1:{} {{\nuri /\n}}\nuri strip_prefix /bench\n\
             reverse_proxy 127.0.0.1:{}\n}}",
            hyper.port, upstream.port
        );
        let caddy = start("caddy", &caddy(self.folder.path(), port, &site)?, port, SMALL_PATH)?;

        let port = free_port()?;
        let routes = [("bench", upstream.port), ("sink", sink.port)];
        let fallgate = start("fallgate", &self.gate.serve(port, &routes)?, port, "/health")?;
        let answer = status(port, SMALL_PATH, Some(&self.token))?;
        if answer != 200 {
            bail!("fallgate answers {answer} where the upstream's file should come");
        }
        Ok(Running {
            lab: self,
            hyper,
            nginx: plain,
            nginx_http2,
            nginx_asking,
            caddy,
            fallgate,
            _upstreams: [upstream, sink],
        })
    }

    fn example(&self, name: &str, port: u16) -> Command {
        let mut command = Command::new(self.built.join("examples").join(name));
        command.arg(port.to_string());
        command
    }
}

/// Where each proxy has the small file.
const SMALL_PATH: &str = "/bench/small";

/// nginx before app and sink, asking for each request what `ask` says.
fn nginx_site(listen: &str, ask: &str, behind: [(&str, u16); 3]) -> String {
    let kept = behind.map(|(name, port)| {
        format!(
            "upstream {name} {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 1000000000; }}\n"
        )
    });
    let pass = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_request_buffering off;";
    format!(
        "{}server {{ {listen}; client_max_body_size 0;
        location /bench/ {{ {ask} proxy_pass http://app/; {pass} }}
        location /sink/ {{ {ask} proxy_pass http://sink/; {pass} }}
        location = /ask {{ internal; proxy_pass http://auth/; {pass}
            proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }} }}",
        kept.concat()
    )
}

impl Running<'_> {
    /// The folder with the files that are served and sent.
    pub(super) fn site(&self) -> PathBuf {
        self.lab.site()
    }

    pub(super) fn hyper(&self, name: &'static str) -> Subject {
        subject(name, self.hyper.port, "/", Vec::new())
    }

    pub(super) fn nginx(&self, name: &'static str, path: &str) -> Subject {
        subject(name, self.nginx.port, path, Vec::new())
    }

    pub(super) fn nginx_http2(&self, name: &'static str, path: &str) -> Subject {
        subject(name, self.nginx_http2, path, Vec::new())
    }

    pub(super) fn nginx_asking(&self, name: &'static str, path: &str) -> Subject {
        subject(name, self.nginx_asking.port, path, Vec::new())
    }

    pub(super) fn caddy(&self, name: &'static str, path: &str) -> Subject {
        subject(name, self.caddy.port, path, Vec::new())
    }

    /// Ours, with the token, and these header lines beside it.
    pub(super) fn fallgate(&self, name: &'static str, path: &str, more: &[&str]) -> Subject {
        let mut headers = vec![format!("Authorization: Bearer {}", self.lab.token)];
        headers.extend(more.iter().map(|line| (*line).to_owned()));
        subject(name, self.fallgate.port, path, headers)
    }
}

fn subject(name: &'static str, port: u16, path: &str, headers: Vec<String>) -> Subject {
    Subject { name, url: format!("http://127.0.0.1:{port}{path}"), headers }
}
