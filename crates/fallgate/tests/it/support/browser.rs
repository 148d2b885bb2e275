//! Chromium, driven from outside. Every host is this machine; each browser has a profile of its own.

mod devtools;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::cookies::Cookie;
use fantoccini::error::CmdError;
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::client::is_listening;
use super::tls::Pair;
use super::{nobodys_address, wait_for};

/// The longest that a page may take. A browser on a busy machine is slower than all else here.
const PAGE_WITHIN: Duration = Duration::from_secs(60);

/// What it is told at its start: as root, on a machine without a screen, and asking nobody but the gate.
const ARGUMENTS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
];

/// A running browser. It ends with the value.
pub(crate) struct Browser {
    runtime: Runtime,
    driver: Option<Client>,
    // Dropped in this order: the programs end before their folder goes.
    _program: Program,
    _profile: TempDir,
}

struct Program(Child);

impl Browser {
    /// Starts one that nobody was signed in with.
    pub(crate) fn new() -> Self {
        Self::started(&[])
    }

    /// Starts one that takes this certificate for good.
    pub(crate) fn trusting(pair: &Pair) -> Self {
        let trusted = format!("--ignore-certificate-errors-spki-list={}", pair.fingerprint());
        Self::started(&[&trusted])
    }

    fn started(more: &[&str]) -> Self {
        let (profile, address) = (tempfile::tempdir().unwrap(), nobodys_address());
        let program = Program::start(address, &profile);
        let folder = format!("--user-data-dir={}", profile.path().join("profile").display());
        let everywhere = "--host-resolver-rules=MAP * 127.0.0.1";
        let told = [&*folder, everywhere];
        let arguments: Vec<_> = ARGUMENTS.iter().chain(&told).chain(more).copied().collect();
        let wanted = json!({"browserName": "chrome", "goog:chromeOptions": {"args": arguments}});
        let Value::Object(wanted) = wanted else { panic!("an object is one") };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let driver = runtime.block_on(async {
            let mut client = ClientBuilder::new(HttpConnector::new());
            client.capabilities(wanted).connect(&format!("http://{address}")).await.unwrap()
        });
        Self { runtime, driver: Some(driver), _program: program, _profile: profile }
    }

    /// Opens an address; returns when it is shown.
    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.wait(self.driver().goto(url));
    }

    /// Goes on in a tab of its own; gives the one that was shown until now.
    #[track_caller]
    pub(crate) fn new_tab(&self) -> WindowHandle {
        let before = self.wait(self.driver().window());
        let opened = self.wait(self.driver().new_window(true));
        self.turn_to(opened.handle);
        before
    }

    /// Goes on in that tab.
    #[track_caller]
    pub(crate) fn turn_to(&self, tab: WindowHandle) {
        self.wait(self.driver().switch_to_window(tab));
    }

    /// Where it is.
    #[track_caller]
    pub(crate) fn url(&self) -> String {
        self.wait(self.driver().current_url()).to_string()
    }

    /// Waits until the page at an address that begins so is shown, and this is written on it.
    #[track_caller]
    pub(crate) fn shows(&self, url: &str, text: &str) {
        let deadline = Instant::now() + PAGE_WITHIN;
        loop {
            let (at, says) = (self.url(), self.text_if_there());
            if at.starts_with(url) && says.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "{at} and not {url}, without {text:?}: {says}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fills in a field of the page, by its name.
    #[track_caller]
    pub(crate) fn fill(&self, name: &str, text: &str) {
        let field = format!("[name={name}]");
        self.wait(async { self.driver().find(Locator::Css(&field)).await?.send_keys(text).await });
    }

    /// Clicks on what this selector finds first.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.wait(async { self.driver().find(Locator::Css(selector)).await?.click().await });
    }

    /// Types into what this selector finds first; keys without a letter are as WebDriver numbers them.
    #[track_caller]
    pub(crate) fn type_into(&self, selector: &str, keys: &str) {
        self.wait(async { self.driver().find(Locator::Css(selector)).await?.send_keys(keys).await });
    }

    /// Presses the button on which this is written.
    #[track_caller]
    pub(crate) fn press(&self, says: &str) {
        let button = format!("//button[normalize-space()='{says}']");
        self.wait(async { self.driver().find(Locator::XPath(&button)).await?.click().await });
    }

    /// Runs a function's body in the page, and waits for what it returns, or what its promise becomes.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];\n\
             (async () => {{ {script} }})().then(done, error => done({{ error: String(error) }}));"
        );
        let given = self.wait(self.driver().execute_async(&script, Vec::new()));
        assert!(given["error"].is_null(), "the script failed: {given}");
        given
    }

    /// A cookie of the host that is shown, whether a script may see it or not.
    #[track_caller]
    pub(crate) fn cookie(&self, name: &str) -> Option<Cookie<'static>> {
        let all = self.wait(self.driver().get_all_cookies());
        all.into_iter().find(|cookie| cookie.name() == name)
    }

    fn text_if_there(&self) -> String {
        // While a page comes or goes there is none.
        let text = async { self.driver().find(Locator::Css("body")).await?.text().await };
        self.runtime.block_on(text).unwrap_or_default()
    }

    fn driver(&self) -> &Client {
        self.driver.as_ref().unwrap()
    }

    #[track_caller]
    fn wait<T>(&self, work: impl Future<Output = Result<T, CmdError>>) -> T {
        let within = self.runtime.block_on(async { tokio::time::timeout(PAGE_WITHIN, work).await });
        within
            .unwrap_or_else(|_| panic!("the browser takes longer than {} s", PAGE_WITHIN.as_secs()))
            .unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            // Else its processes would outlive the driver. One that hangs is not waited for.
            let quit = async { tokio::time::timeout(Duration::from_secs(5), driver.close()).await };
            let _ = self.runtime.block_on(quit);
        }
    }
}

impl Program {
    fn start(address: SocketAddr, folder: &TempDir) -> Self {
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", address.port())).env("TMPDIR", folder.path());
        // Whatever it writes for itself goes with the profile.
        command
            .env("HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("XDG_CACHE_HOME", folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut program = Self(
            child.unwrap_or_else(|error| panic!("no chromedriver ({error}): `cargo xtask install` has it")),
        );
        wait_for("chromedriver", || {
            let ended = program.0.try_wait().unwrap();
            assert!(ended.is_none(), "chromedriver ended: {ended:?}");
            is_listening(address).then_some(())
        });
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
