//! What WebDriver has no words for, told to Chromium in its own (Chrome's devtools protocol): a phone's width, a dark theme.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fantoccini::wd::WebDriverCompatibleCommand;
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

use super::Browser;

/// A command of the protocol, as chromedriver passes it on.
#[derive(Debug)]
struct Command {
    name: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"cmd": self.name, "params": self.parameters}).to_string()))
    }
}

/// What the page is looked at on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// In CSS pixels.
    pub(crate) width: u32,
    pub(crate) dark: bool,
}

impl Screen {
    /// A phone and a desk, by day and by night.
    pub(crate) const ALL: [Self; 4] = [
        Self { width: 360, dark: false },
        Self { width: 360, dark: true },
        Self { width: 1_440, dark: false },
        Self { width: 1_440, dark: true },
    ];
}

/// Where the build's files are.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

impl Browser {
    /// Has the page be looked at on this screen from here on.
    #[track_caller]
    pub(crate) fn on(&self, screen: Screen) {
        let Screen { width, dark } = screen;
        let height = if width < 600 { 780 } else { 900 };
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}),
        );
        let theme = if dark { "dark" } else { "light" };
        self.tell(
            "Emulation.setEmulatedMedia",
            json!({"features": [
                {"name": "prefers-color-scheme", "value": theme},
                // A picture is of one moment.
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]}),
        );
    }

    /// Tells Chromium in its own words, and shows its answer.
    #[track_caller]
    pub(crate) fn tell(&self, name: &'static str, parameters: Value) -> Value {
        self.wait(self.driver().issue_cmd(Command { name, parameters }))
    }

    /// Writes what is shown, from top to bottom, to a file of that name, for people to look at.
    #[track_caller]
    pub(crate) fn screenshot(&self, name: &str) -> PathBuf {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let taken = self.tell("Page.captureScreenshot", whole);
        let picture = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        let folder = target().join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        fs::write(&file, picture).unwrap();
        file
    }

    /// That axe-core finds nothing serious on the page as it is shown now.
    #[track_caller]
    pub(crate) fn is_accessible(&self) {
        let axe = target().join("npm/node_modules/axe-core/axe.min.js");
        let axe = fs::read_to_string(&axe)
            .unwrap_or_else(|error| panic!("{}: {error}: `cargo xtask install` has it", axe.display()));
        let found = self.run(&format!(
            "{axe};\n\
             const {{ violations }} = await window.axe.run(document);\n\
             return violations.filter(one => ['serious', 'critical'].includes(one.impact))\n\
               .map(one => `${{one.id}}: ${{one.help}}: ${{one.nodes.map(node => node.html).join(' | ')}}`);"
        ));
        assert_eq!(found, json!([]), "{}", self.url());
    }

    /// Looks at the page on every screen: nothing is wider than it, axe-core finds nothing serious, and a picture of each is
    /// kept.
    #[track_caller]
    pub(crate) fn looks_right(&self, name: &str) {
        for screen in Screen::ALL {
            self.on(screen);
            let widths = self
                .run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]");
            let theme = if screen.dark { "dark" } else { "light" };
            let file = self.screenshot(&format!("{name}-{}-{theme}", screen.width));
            assert_eq!(widths[0], widths[1], "{} is wider than its screen: {}", self.url(), file.display());
            self.is_accessible();
        }
        self.tell("Emulation.clearDeviceMetricsOverride", json!({}));
    }
}
