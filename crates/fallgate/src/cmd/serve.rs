//! `fallgate serve`

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fallgate_authority::{Actor, UseNotes, Verifier};
use fallgate_domain::clock::{Clock, SystemClock};
use fallgate_domain::root_key::RootKey;
use fallgate_domain::setup::SetupToken;
use fallgate_domain::user::Username;
use fallgate_relay::{Entrance, Gate, ListenAt, Listener, OwnCertificate, Route};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::cli::Serve;
use crate::cmd::version::VERSION;
use crate::config::{Config, Environment, Secrets, Setting, Source};
use crate::control::{Answers, ControlSocket};
use crate::failure::Failure;
use crate::first_run::FirstAdmin;
use crate::home::{Home, HomeFolder, SetupFile};
use crate::lifecycle::{self, Hangups, StopSignals};
use crate::neighbours::Neighbours;
use crate::reload::{Outline, Reloader};
use crate::{access_log, assemble, cmd, control, output, root_key, service_manager, welcome};

/// How long the last minute's counts may take to be written when the gate stops.
const WRITE_DOWN_WITHIN: Duration = Duration::from_secs(5);

pub(crate) fn run(serve: &Serve, folder: &HomeFolder, environment: &Environment) -> Result<(), Failure> {
    lifecycle::start_log(environment)?;
    let runtime = cmd::runtime()?;
    let handed_over = {
        // A listener belongs to a runtime from its first moment on.
        let _inside = runtime.enter();
        service_manager::socket()?.map(adopt).transpose()?
    };
    let in_use = handed_over.as_ref().map(Listener::address).transpose()?;
    let in_use = in_use.map(|value| Setting { value, source: Source::ServiceManager });
    let mut config = Config::load_listening(&serve.settings, environment, Secrets::Read, in_use.as_ref())?;
    if let Some(in_use) = in_use {
        config.listen = in_use;
    }
    let certificate = config.read_files()?;
    let root_key = root_key::in_variable(environment)?;
    let first_admin = FirstAdmin::named_in(environment)?;
    let doubts = certificate.as_deref().map(|shown| config.certificate_doubts(shown, SystemClock.now()));
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    // Some clients do not look, and it can be replaced while we run.
    if let Some(doubts) = doubts.filter(|doubts| !doubts.is_empty()) {
        tracing::warn!("{}; clients will not trust this gate", doubts.join(", and "));
    }
    let home = Home::make(folder)?;
    home.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let _only_daemon = home.lock()?;
    lifecycle::raise_file_limit();
    let again = |gate, outline, in_use| {
        Reloader::new(serve.settings.clone(), environment.without_secrets(), gate, outline, in_use)
    };
    let no_config_file = environment.no_config_file();
    let entry = Entry { handed_over, certificate, first_admin, no_config_file };
    let welcome = Welcome { qr_owner: serve.qr_owner.clone(), no_qr: serve.no_qr };
    runtime.block_on(serve_until_stopped(folder, &home, config, root_key, entry, welcome, again))
}

/// `again` makes what reads the config again.
async fn serve_until_stopped(
    folder: &HomeFolder,
    home: &Home,
    config: Config,
    root_key: Option<RootKey>,
    entry: Entry,
    welcome: Welcome,
    again: impl FnOnce(Arc<Gate>, Outline, Setting<ListenAt>) -> Reloader,
) -> Result<(), Failure> {
    let (signals, hangups) = (StopSignals::catch()?, Hangups::catch()?);
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(signals.watch(stop));
    let (listen, file) = (config.listen.clone(), config.file.clone());
    let (access, writer) = access_log::start(&config.access_log.value)?.unzip();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let parts = assemble::gate(home, folder, config, root_key, access, entry.first_admin, workers).await?;
    let mut listener = if let Some(listener) = entry.handed_over {
        listener
    } else {
        let bound = Listener::bind(&listen.value).await;
        bound.map_err(|error| cannot_listen(&listen.value, &error))?
    };
    if let ListenAt::Tcp(address) = listener.address()? {
        parts.gate.settings.took_port(address.port());
    }
    let scheme = if entry.certificate.is_some() { "https" } else { "http" };
    if let Some(certificate) = entry.certificate {
        listener = listener.with_certificate(certificate.clone())?;
        tokio::spawn(certificate.watch());
    }
    let without_users = parts.verifier.needs_setup().await?;
    let setup = open_setup(home, &parts.verifier)?;
    let mut watching = tokio::spawn({
        let verifier = parts.verifier.clone();
        async move { verifier.watch().await }
    });
    let upkeep = Upkeep::start(&parts.verifier, parts.use_notes);
    let in_use = Setting { value: listener.address()?, source: listen.source };
    let reloader = Arc::new(again(parts.gate.clone(), parts.outline, in_use));
    let moved = writer.as_ref().map(access_log::Writer::told);
    let answers = Answers {
        verifier: parts.verifier.clone(),
        reloader: reloader.clone(),
        settings: parts.gate.settings.clone(),
    };
    let _control = control_socket(home, answers);
    let _reloading = Task(tokio::spawn(reload_on_hangup(hangups, reloader, moved)));
    let settings = parts.gate.settings.now();
    let banner = Banner {
        address: address_of(&listener, scheme)?,
        handed_over: listen.source == Source::ServiceManager,
        home: home.path(),
        file: file.as_deref(),
        no_file: entry.no_config_file,
        routes: settings.routes.iter().collect(),
        first_user: without_users.then(|| folder.command("user create NAME --admin")),
        setup_token: setup.as_ref().map(|(_, file)| file.path()),
    };
    output::say(banner.text());
    match &setup {
        _ if welcome.no_qr => {}
        Some((token, _)) => welcome::show_setup(&settings.reached_at, token)?,
        None => {
            let owner = welcome.qr_owner.as_ref();
            welcome::show_pairing(&parts.verifier, &settings.reached_at, owner).await;
        }
    }
    tell_service_manager(&banner.address, stopping.clone());
    warn_of_neighbours(&parts.gate);
    if let Some((_, file)) = setup {
        let verifier = parts.verifier.clone();
        tokio::spawn(async move {
            verifier.until_set_up().await;
            drop(file);
        });
    }
    tokio::select! {
        served = parts.gate.clone().run(listener, workers, stopping) => served?,
        // It never ends by itself. Without it, what other processes revoke would be cut late.
        _ = &mut watching => return Err(Failure::failed("the watch on the store broke off; ending, so that nothing goes on unwatched")),
    }
    upkeep.stop().await;
    if let Some(writer) = writer {
        writer.stop();
    }
    tracing::info!("stopped");
    Ok(())
}

/// Answers the commands that only a running gate can answer. Without the socket it serves all the same.
fn control_socket(home: &Home, answers: Answers) -> Option<Task> {
    match ControlSocket::open(home) {
        Ok(socket) => Some(Task(tokio::spawn(socket.serve(Arc::new(answers))))),
        Err(error) => {
            let file = home.path().join(control::NAME);
            tracing::warn!(file = %file.display(), %error, "cannot make the control socket: `fallgate live`, `fallgate pair` and `fallgate reload` will not find this gate");
            None
        }
    }
}

/// `log`: told that its file may have been moved away, as whoever rotates logs does before this signal.
async fn reload_on_hangup(mut hangups: Hangups, reloader: Arc<Reloader>, log: Option<Arc<access_log::Told>>) {
    loop {
        hangups.next().await;
        if let Some(log) = &log {
            log.reopen();
        }
        // What came of it is in the log.
        let _ = reloader.reload(&Actor::Internal).await;
    }
}

/// Ends with the value that stands for it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a terminal is shown at start.
struct Welcome {
    /// Whom the pairing code is for.
    qr_owner: Option<Username>,
    no_qr: bool,
}

/// What is there before the gate.
struct Entry {
    /// A socket that somebody else listens on for us.
    handed_over: Option<Listener>,
    /// What clients are shown, where they must use TLS.
    certificate: Option<Arc<OwnCertificate>>,
    /// Whom the environment has be the first admin.
    first_admin: Option<FirstAdmin>,
    /// What is said if there is no config file: where one would be found.
    no_config_file: String,
}

fn adopt(socket: OwnedFd) -> Result<Listener, Failure> {
    Listener::handed_over(socket).map_err(|error| {
        Failure::failed(format_args!(
            "cannot listen on the socket that the service manager hands over: {error}"
        ))
    })
}

/// As people and other programs write it.
fn address_of(listener: &Listener, scheme: &str) -> io::Result<String> {
    Ok(match listener.address()? {
        ListenAt::Tcp(address) => format!("{scheme}://{address}"),
        unix @ ListenAt::Unix(_) => unix.to_string(),
    })
}

/// Says that the gate listens there and, later, that it stops; and keeps the watchdog quiet meanwhile.
fn tell_service_manager(address: &str, mut stopping: watch::Receiver<bool>) {
    service_manager::ready(&format!("listening on {address}"));
    tokio::spawn(service_manager::keep_watchdog_quiet());
    tokio::spawn(async move {
        if stopping.wait_for(|stopping| *stopping).await.is_ok() {
            service_manager::stopping();
        }
    });
}

/// Whoever runs as Fallgate's own user can read its home folder. Said at start, since nothing else would show it.
fn warn_of_neighbours(gate: &Gate) {
    let user = lifecycle::user_id();
    let settings = gate.settings.now();
    let neighbours = Neighbours::now();
    let names = settings.routes.iter().filter(|route| neighbours.user_of(route) == Some(user));
    let names: Vec<_> = names.map(|route| route.policy.name.to_string()).collect();
    if !names.is_empty() {
        tracing::warn!(
            routes = names.join(" "),
            user = lifecycle::user_name(user),
            "these upstreams run as Fallgate's own user and can read its home folder: run Fallgate as a user of its own"
        );
    }
}

/// What runs beside the gate and has something to write down at its end.
struct Upkeep {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Upkeep {
    fn start(verifier: &Arc<Verifier>, use_notes: UseNotes) -> Self {
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let stopped = |mut stopping: watch::Receiver<bool>| async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        let (noting, keeping, telling) = (verifier.clone(), verifier.clone(), verifier.clone());
        let (noting_stopped, keeping_stopped) = (stopped(stopping.clone()), stopped(stopping.clone()));
        tasks.spawn(async move { use_notes.run(&noting, noting_stopped).await });
        tasks.spawn(async move { keeping.keep_house(keeping_stopped).await });
        tasks.spawn(async move { telling.note_streams(stopped(stopping)).await });
        Self { stop, tasks }
    }

    /// Lets them write down what they have; a store that hangs is not waited for.
    async fn stop(mut self) {
        // Nobody listens any more: then they have ended already.
        let _ = self.stop.send(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(WRITE_DOWN_WITHIN, ended).await.is_err() {
            tracing::warn!("the store takes too long; the last minute's counts are lost");
        }
    }
}

/// Lets whoever reads the home folder, or the terminal, make the first user, as long as there is none. `None`: there is
/// nothing to set up, or the token could not be written down, and the command line is the only way.
fn open_setup(home: &Home, verifier: &Verifier) -> Result<Option<(SetupToken, SetupFile)>, Failure> {
    let Some(token) = verifier.open_setup().map_err(Failure::failed)? else {
        if let Err(error) = home.remove_setup_token() {
            tracing::warn!(%error, "cannot remove the setup token of an earlier run, which is good for nothing");
        }
        return Ok(None);
    };
    let written = home.write_setup_token(&token);
    let written = written.inspect_err(|error| tracing::warn!(%error, "cannot write the setup token down"));
    Ok(written.ok().map(|file| (token, file)))
}

/// What listens where and for what. It says nothing about who may come in: that is decided request by request.
struct Banner<'a> {
    address: String,
    /// The service manager gave the socket to us.
    handed_over: bool,
    home: &'a Path,
    file: Option<&'a Path>,
    /// What is said if there is no file: where one would be found.
    no_file: String,
    routes: Vec<&'a Route>,
    /// The command that makes the first user, when there is none.
    first_user: Option<String>,
    /// The file with what lets a program make the first user.
    setup_token: Option<&'a Path>,
}

impl Banner<'_> {
    fn text(&self) -> String {
        let mut lines = vec![
            format!("Fallgate {VERSION} is listening on {}", self.address),
            format!("  home    {}", self.home.display()),
            match self.file {
                Some(file) => format!("  config  {}", file.display()),
                None => format!("  config  {}; all settings have their defaults", self.no_file),
            },
        ];
        if self.handed_over {
            lines.push(
                "  socket  handed over by the service manager; server.listen and --listen do not count"
                    .to_owned(),
            );
        }
        if self.routes.is_empty() {
            lines.push("  routes  none; each [[route]] in the config is one".to_owned());
        }
        for route in &self.routes {
            lines.push(format!(
                "  route   {}: {} to {}",
                route.policy.name,
                entrance(route),
                upstream(route)
            ));
        }
        if let Some(command) = &self.first_user {
            lines.push(format!("  users   none yet; make the first one on /setup, or here: {command}"));
        }
        if let Some(file) = self.setup_token {
            lines.push(format!(
                "  setup   is waiting for whoever has the token in {}; it is good for a day",
                file.display()
            ));
        }
        lines.join("\n")
    }
}

/// Where a route's requests come in, as people write it.
pub(crate) fn entrance(route: &Route) -> String {
    match &route.entrance {
        Entrance::Host(host) => host.to_string(),
        Entrance::Path { prefix, .. } => prefix.to_string(),
    }
}

/// What is told of a route that another proxy serves (requirement R50).
pub(crate) const FORWARD_AUTH: &str =
    "another proxy, which asks here (forward-auth); open streams cannot be cut here";

/// Where they go, as the config writes it.
pub(crate) fn upstream(route: &Route) -> &str {
    route.upstream.as_ref().map_or(FORWARD_AUTH, |upstream| &upstream.origin)
}

fn cannot_listen(address: &ListenAt, error: &io::Error) -> Failure {
    let is_unix = matches!(address, ListenAt::Unix(_));
    let why = match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there; stop it, or choose another address with --listen".to_owned()
        }
        ErrorKind::PermissionDenied if is_unix => {
            "this user may not write in that folder; choose another with --listen".to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address; choose another with --listen".to_owned()
        }
        ErrorKind::PermissionDenied => {
            "this user may not; choose a port from 1024 on with --listen".to_owned()
        }
        _ => error.to_string(),
    };
    Failure::failed(format_args!("cannot listen on {address}: {why}"))
}
