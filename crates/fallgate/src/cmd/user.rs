//! `fallgate user …`

use std::io::{self, IsTerminal, Read};

use fallgate_authority::{CreateUserError, Passphrase, UserOrder};
use fallgate_domain::user::{DisplayName, Role, Username};
use fallgate_web::view::UserView;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::User;
use crate::failure::Failure;
use crate::home::HomeFolder;
use crate::{cmd, lifecycle, output};

/// The longest passphrase is 1,024 bytes; what is longer is not read to its end.
const READ_AT_MOST: u64 = 1_024 + 2;

pub(crate) fn run(verb: User, home: &HomeFolder) -> Result<(), Failure> {
    let runtime = cmd::runtime()?;
    match verb {
        User::Create { username, display_name, admin, passphrase_stdin, format } => {
            let source = PassphraseSource::choose(passphrase_stdin)?;
            let role = if admin { Role::Admin } else { Role::User };
            let new = NewUser { username, display_name, role };
            runtime.block_on(create(home, new, source, format.json))
        }
        User::List { format } => runtime.block_on(list(home, format.json)),
    }
}

struct NewUser {
    username: Username,
    display_name: Option<DisplayName>,
    role: Role,
}

async fn create(
    home: &HomeFolder,
    new: NewUser,
    source: PassphraseSource,
    json: bool,
) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, true).await?;
    // Nobody should think up a passphrase for nothing. That the name is still free is made sure of later.
    if registrar.store().user_named(&new.username).await?.is_some() {
        return Err(refused(CreateUserError::UsernameTaken(new.username)));
    }
    let text = source.read(&new.username)?;
    let mut about = vec![new.username.as_str(), "fallgate"];
    about.extend(new.display_name.as_ref().map(DisplayName::as_str));
    let passphrase = Passphrase::new(text, &about)?;
    let NewUser { username, display_name, role } = new;
    let order = UserOrder { username, display_name, role, passphrase };
    let user = registrar.create_user(order, &lifecycle::actor()).await.map_err(refused)?;
    let what = if user.role == Role::Admin { "admin" } else { "user" };
    let next = home.command(format_args!("token create --username {}", user.username));
    output::say(format_args!("Made the {what} {}. A token for them: {next}", user.username));
    if json { output::data(&output::json(&UserView::from(user))?) } else { Ok(()) }
}

fn refused(error: CreateUserError) -> Failure {
    match error {
        CreateUserError::UsernameTaken(_) => {
            Failure::failed(format_args!("{error}: choose another name, or see `fallgate user list`"))
        }
        error => error.into(),
    }
}

#[derive(Serialize)]
struct Users {
    users: Vec<UserView>,
}

async fn list(home: &HomeFolder, json: bool) -> Result<(), Failure> {
    let registrar = cmd::registrar(home, false).await?;
    let users = registrar.store().users().await?;
    if json {
        let users = users.into_iter().map(UserView::from).collect();
        return output::data(&output::json(&Users { users })?);
    }
    if users.is_empty() {
        let first = home.command("user create NAME --admin");
        output::say(format_args!("There are no users yet. Make the first one: {first}"));
        return Ok(());
    }
    let rows: Vec<_> = users
        .into_iter()
        .map(|user| {
            let disabled = user.disabled_at.map_or_else(|| "no".to_owned(), output::to_the_second);
            vec![
                user.username.to_string(),
                user.display_name.to_string(),
                user.role.to_string(),
                output::to_the_second(user.created_at),
                disabled,
            ]
        })
        .collect();
    output::data(&output::table(&["USERNAME", "NAME", "ROLE", "CREATED", "DISABLED"], &rows))
}

/// Where a passphrase is read from. Never from the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PassphraseSource {
    Stdin,
    Terminal,
}

impl PassphraseSource {
    fn choose(stdin: bool) -> Result<Self, Failure> {
        if stdin {
            Ok(Self::Stdin)
        } else if io::stdin().is_terminal() {
            Ok(Self::Terminal)
        } else {
            Err(Failure::usage(
                "there is no terminal to ask for the passphrase on: give --passphrase-stdin and write it to stdin",
            ))
        }
    }

    fn read(self, username: &Username) -> Result<Zeroizing<String>, Failure> {
        match self {
            Self::Stdin => first_line(io::stdin().lock()),
            Self::Terminal => {
                let first = hidden(&format!("Passphrase for {username}: "))?;
                let second = hidden("The same again: ")?;
                if first == second { Ok(first) } else { Err(Failure::failed("the two passphrases differ")) }
            }
        }
    }
}

fn hidden(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| Failure::failed(format_args!("cannot ask for the passphrase: {error}")))
}

/// What stands before the first line's end, or before the end of all.
fn first_line(from: impl Read) -> Result<Zeroizing<String>, Failure> {
    // Room for all from the start: bytes that move to a larger place leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * 1_024));
    from.take(READ_AT_MOST)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format_args!("cannot read the passphrase from stdin: {error}")))?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::failed("there is no passphrase on stdin: write it as the first line"));
    }
    let text = std::str::from_utf8(line);
    let text = text.map_err(|_| Failure::failed("the passphrase on stdin is not UTF-8 text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_on_stdin_is_its_first_line() {
        for input in
            ["four quiet words", "four quiet words\n", "four quiet words\r\n", "four quiet words\nmore"]
        {
            assert_eq!(*first_line(input.as_bytes()).unwrap(), "four quiet words");
        }
    }

    #[test]
    fn a_passphrase_on_stdin_that_is_none_is_refused_in_words() {
        let refused = |input: &[u8]| first_line(input).unwrap_err().to_string();
        assert!(refused(b"").contains("no passphrase"));
        assert!(refused(b"\nsecond line").contains("no passphrase"));
        assert!(refused(b"\xff\xfe\n").contains("not UTF-8"));
    }

    #[test]
    fn a_passphrase_that_is_too_long_is_seen_as_such() {
        let text = first_line("ä".repeat(1_000_000).as_bytes());
        // Cut in the middle, but still longer than any that is taken.
        assert!(text.is_err() || text.is_ok_and(|text| text.len() > 1_024));
    }
}
