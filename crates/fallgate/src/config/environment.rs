//! The environment: the only place where it is read.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::home::HomeFolder;

/// Our folders' name.
const FOLDER: &str = "fallgate";

/// Every variable that means anything to us.
const NAMES: [&str; 16] = [
    "FALLGATE_CONFIG",
    "FALLGATE_HOME",
    "FALLGATE_HOSTS",
    "FALLGATE_INIT_DISPLAY_NAME",
    "FALLGATE_INIT_PASSPHRASE_FILE",
    "FALLGATE_INIT_USERNAME",
    "FALLGATE_LISTEN",
    "FALLGATE_LOG",
    "FALLGATE_PUBLIC_URL",
    "FALLGATE_SERVER",
    "FALLGATE_TOKEN",
    "HOME",
    "RUST_LOG",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
];

/// What all names of ours begin with.
const OURS: &str = "FALLGATE_";
/// The variable that may hold the root key.
pub(crate) const ROOT_KEY: &str = "FALLGATE_ENCRYPTION_KEY";
/// The variable that may hold the first admin's passphrase.
pub(crate) const FIRST_PASSPHRASE: &str = "FALLGATE_INIT_PASSPHRASE";

/// The variables that were set when the process began. An empty one counts as not set.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    known: HashMap<&'static str, OsString>,
    root_key: Option<SecretValue>,
    first_passphrase: Option<SecretValue>,
    /// Names that begin as ours do and mean nothing to us.
    strangers: Vec<String>,
}

/// What a variable holds that is a secret by itself. An empty one counts: somebody meant it to hold one.
struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    fn of_process(name: &str) -> Option<Self> {
        std::env::var_os(name).map(|text| Self(Zeroizing::new(text.into_encoded_bytes())))
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

impl Environment {
    /// Those of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub(crate) fn of_process() -> Self {
        let known = NAMES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let root_key = SecretValue::of_process(ROOT_KEY);
        let first_passphrase = SecretValue::of_process(FIRST_PASSPHRASE);
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        let is_ours = |name: &String| {
            NAMES.contains(&name.as_str()) || [ROOT_KEY, FIRST_PASSPHRASE].contains(&name.as_str())
        };
        let strangers = names.filter(|name| name.starts_with(OURS) && !is_ours(name)).collect();
        Self { root_key, first_passphrase, strangers, ..Self::from_pairs(known) }
    }

    pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (&'static str, OsString)>) -> Self {
        let known = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Self { known, ..Self::default() }
    }

    /// The same without the secrets that only the start needs, for whoever reads the config again.
    pub(crate) fn without_secrets(&self) -> Self {
        Self { known: self.known.clone(), strangers: self.strangers.clone(), ..Self::default() }
    }

    /// Names that look like ours and mean nothing: misspelt, most likely.
    pub(crate) fn strangers(&self) -> &[String] {
        &self.strangers
    }

    /// What the root key's variable holds, if it is set.
    pub(crate) fn root_key(&self) -> Option<&[u8]> {
        self.root_key.as_ref().map(|text| text.0.as_slice())
    }

    /// What the variable for the first admin's passphrase holds, if it is set. An empty one counts as not set.
    pub(crate) fn first_passphrase(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let Some(SecretValue(bytes)) = self.first_passphrase.as_ref().filter(|value| !value.0.is_empty())
        else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes).map_err(|_| not_text(FIRST_PASSPHRASE))?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    /// A variable's value that is a file's path.
    pub(crate) fn path(&self, name: &str) -> Option<&Path> {
        self.get(name).map(Path::new)
    }

    /// A variable's value, which must be text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        self.get(name).map(|value| value.to_str().ok_or_else(|| not_text(name))).transpose()
    }

    /// Fallgate's own folder: what the command line says, else `FALLGATE_HOME`, else below the user's data folder.
    pub(crate) fn home_folder(&self, flag: Option<&Path>) -> Result<HomeFolder, Failure> {
        let usual = self.below("XDG_DATA_HOME", ".local/share", FOLDER);
        let named = flag.or_else(|| self.get("FALLGATE_HOME").map(Path::new)).map(Path::to_owned);
        let path = named.or_else(|| usual.clone()).ok_or_else(|| {
            Failure::failed(
                "there is no place for Fallgate's folder, since HOME is not set: name one with --home",
            )
        })?;
        let is_usual = usual.as_ref() == Some(&path);
        Ok(HomeFolder { path, is_usual })
    }

    /// The config file that was asked for, and by what.
    pub(crate) fn config_file(&self) -> Option<&Path> {
        self.get("FALLGATE_CONFIG").map(Path::new)
    }

    /// The config file that is read if it is there.
    pub(crate) fn usual_config_file(&self) -> Option<PathBuf> {
        Some(self.below("XDG_CONFIG_HOME", ".config", FOLDER)?.join("fallgate.toml"))
    }

    /// Where this user's sign-ins to gates are kept.
    pub(crate) fn credentials_file(&self) -> Result<PathBuf, Failure> {
        let folder = self.below("XDG_CONFIG_HOME", ".config", FOLDER);
        let folder = folder.ok_or_else(|| {
            Failure::failed(
                "there is no place for saved sign-ins, since HOME is not set: set it, or use FALLGATE_TOKEN",
            )
        })?;
        Ok(folder.join("credentials.toml"))
    }

    /// Where another program keeps its state and its data: folders of its name below the user's.
    pub(crate) fn folders_of(&self, program: &str) -> [Option<PathBuf>; 2] {
        [("XDG_STATE_HOME", ".local/state"), ("XDG_DATA_HOME", ".local/share")]
            .map(|(variable, usual)| self.below(variable, usual, program))
    }

    /// A folder below one of the XDG base folders, which count only when absolute (XDG base directory specification
    /// 0.8).
    fn below(&self, variable: &str, usual: &str, name: &str) -> Option<PathBuf> {
        let named = self.get(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
        let folder = named.or_else(|| Some(Path::new(self.get("HOME")?).join(usual)))?;
        Some(folder.join(name))
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        self.known.get(name).map(OsString::as_os_str)
    }
}

fn not_text(name: &str) -> Failure {
    Failure::failed(format_args!("{name} is not UTF-8 text: set it anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<const N: usize>(pairs: [(&'static str, &str); N]) -> Environment {
        Environment::from_pairs(pairs.map(|(name, value)| (name, value.into())))
    }

    #[test]
    fn the_home_folder_is_named_by_flag_then_variable_then_the_users_folders() {
        let all = environment([("FALLGATE_HOME", "/b"), ("XDG_DATA_HOME", "/c"), ("HOME", "/d")]);
        assert_eq!(all.home_folder(Some(Path::new("/a"))).unwrap().path, Path::new("/a"));
        assert_eq!(all.home_folder(None).unwrap().path, Path::new("/b"));
        let xdg = environment([("FALLGATE_HOME", ""), ("XDG_DATA_HOME", "/c"), ("HOME", "/d")]);
        assert_eq!(xdg.home_folder(None).unwrap().path, Path::new("/c/fallgate"));
        let plain = environment([("XDG_DATA_HOME", "not/absolute"), ("HOME", "/d")]);
        assert_eq!(plain.home_folder(None).unwrap().path, Path::new("/d/.local/share/fallgate"));
        assert!(environment([]).home_folder(None).unwrap_err().to_string().contains("--home"));
    }

    #[test]
    fn the_usual_config_file_lies_below_the_users_config_folder() {
        assert_eq!(
            environment([("HOME", "/d")]).usual_config_file().unwrap(),
            Path::new("/d/.config/fallgate/fallgate.toml")
        );
        assert_eq!(environment([]).usual_config_file(), None);
    }
}
