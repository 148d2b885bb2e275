//! The first run without a person: the environment says who the first admin is.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fallgate_authority::{Actor, Registrar, UserOrder};
use fallgate_domain::user::{DisplayName, Role, Username};
use zeroize::Zeroizing;

use crate::config::{Environment, FIRST_PASSPHRASE as PASSPHRASE};
use crate::desk::about;
use crate::failure::Failure;

const USERNAME: &str = "FALLGATE_INIT_USERNAME";
const DISPLAY_NAME: &str = "FALLGATE_INIT_DISPLAY_NAME";
const PASSPHRASE_FILE: &str = "FALLGATE_INIT_PASSPHRASE_FILE";

/// The longest file that is read; a passphrase has at most 1,024 bytes.
const LONGEST: u64 = 4 * 1_024;

/// The first admin, as the environment names them.
pub(crate) struct FirstAdmin {
    username: Username,
    display_name: Option<DisplayName>,
    passphrase: PassphraseFrom,
}

enum PassphraseFrom {
    Variable(Zeroizing<String>),
    File(PathBuf),
}

impl FirstAdmin {
    /// Reads the variables: all that are needed must be set, or none. What they hold is looked at also where it will not
    /// be needed, so that a mistake shows at once.
    pub(crate) fn named_in(environment: &Environment) -> Result<Option<Self>, Failure> {
        let username = environment.text(USERNAME)?;
        let display_name = environment.text(DISPLAY_NAME)?;
        let file = environment.path(PASSPHRASE_FILE);
        let passphrase = environment.first_passphrase()?;
        let Some(username) = username else {
            return match (display_name, file, passphrase) {
                (None, None, None) => Ok(None),
                _ => Err(incomplete(USERNAME)),
            };
        };
        let wrong =
            |name: &str, error: &dyn std::fmt::Display| Failure::failed(format_args!("{name}: {error}"));
        let passphrase = match (file, passphrase) {
            (None, None) => return Err(incomplete(PASSPHRASE_FILE)),
            (Some(_), Some(_)) => {
                return Err(Failure::failed(format_args!(
                    "{PASSPHRASE} and {PASSPHRASE_FILE} are both set: unset one of them"
                )));
            }
            (Some(file), None) => PassphraseFrom::File(file.to_owned()),
            (None, Some(text)) => PassphraseFrom::Variable(text),
        };
        Ok(Some(Self {
            username: username.parse().map_err(|error| wrong(USERNAME, &error))?,
            display_name: display_name
                .map(|name| name.parse().map_err(|error| wrong(DISPLAY_NAME, &error)))
                .transpose()?,
            passphrase,
        }))
    }

    /// Makes them, as long as nobody has an account.
    pub(crate) async fn make(self, registrar: &Registrar) -> Result<(), Failure> {
        if !registrar.store().users().await?.is_empty() {
            tracing::info!("there are users already, so FALLGATE_INIT_USERNAME makes nobody");
            return Ok(());
        }
        let (variable, text) = match self.passphrase {
            PassphraseFrom::Variable(text) => (PASSPHRASE, text),
            PassphraseFrom::File(file) => (PASSPHRASE_FILE, read(&file)?),
        };
        let about = about(&self.username, self.display_name.as_ref());
        let checked = registrar.check_passphrase(text, about).await;
        let passphrase = checked.map_err(|error| Failure::failed(format_args!("{variable}: {error}")))?;
        let (username, display_name) = (self.username, self.display_name);
        let order = UserOrder { username, display_name, role: Role::Admin, passphrase };
        let user = registrar.create_user(order, &Actor::Internal).await?;
        tracing::info!(username = %user.username, "made the first admin, as the environment says");
        Ok(())
    }
}

fn incomplete(missing: &str) -> Failure {
    Failure::failed(format_args!(
        "{missing} is not set: the first admin needs {USERNAME} and {PASSPHRASE_FILE} (or {PASSPHRASE}); set them all, or none"
    ))
}

/// The file's text, without the newline at its end.
fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let unread = |error: io::Error| {
        Failure::failed(format_args!("{PASSPHRASE_FILE}: {} cannot be read: {error}", path.display()))
    };
    let mut text = Zeroizing::new(String::new());
    File::open(path).map_err(unread)?.take(LONGEST).read_to_string(&mut text).map_err(unread)?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}
