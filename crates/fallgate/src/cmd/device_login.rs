//! `fallgate login --device`: signing in a machine without a browser (RFC 8628), approved on another one.

use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use fallgate_domain::name::on_one_line;
use fallgate_domain::token::{PlainToken, TokenKind};
use fallgate_domain::user_code::UserCode;
use fallgate_web::view::{AccessTokenView, StartedDeviceLoginView, WhoAmI};

use crate::client::{Client, Fault, OAuthFault, With};
use crate::failure::Failure;
use crate::{output, qr, welcome};

/// What this program calls itself.
const CLIENT: &str = "fallgate";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// So much longer from each time on that the gate says that it is asked too often (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// Between two looks, whatever the gate says.
const FASTEST: Duration = Duration::from_secs(1);
const SLOWEST: Duration = Duration::from_mins(1);

/// Shows a code, and waits until somebody has approved it, or not.
pub(super) fn sign_in(client: &Client, device_name: &str) -> Result<(WhoAmI, PlainToken), Failure> {
    let asked = [("client_id", CLIENT), ("device_name", device_name)];
    let started: StartedDeviceLoginView =
        client.send_form("/oauth/device", &asked).map_err(OAuthFault::into_failure)?;
    show(client, &started)?;
    let granted = wait(client, &started)?;
    let gate = client.origin().text();
    let secret = PlainToken::parse(TokenKind::Login, granted.access_token.as_bytes())
        .map_err(|_| Failure::failed(format_args!("{gate} answers with what is no sign-in")))?;
    let me: WhoAmI =
        client.get_with("/api/whoami", With::Secret(secret.expose())).map_err(Fault::into_failure)?;
    Ok((me, secret))
}

/// On stderr, all of it: stdout is for what comes of it.
fn show(client: &Client, started: &StartedDeviceLoginView) -> Result<(), Failure> {
    let gate = client.origin().text();
    // What a stranger at that address answers is not to write on the terminal as it likes.
    let code: UserCode = started
        .user_code
        .parse()
        .map_err(|_| Failure::failed(format_args!("{gate} answers with what is no code")))?;
    let minutes = started.expires_in.div_ceil(60);
    output::say(format_args!(
        "To sign in this machine, open {} in a browser within {minutes} minutes, and type the code {code}. Ctrl+C ends it.",
        on_one_line(&started.verification_uri)
    ));
    let link = on_one_line(&started.verification_uri_complete);
    if welcome::is_within_reach(link.split_once("/device").map_or(&*link, |(origin, _)| origin)) {
        let picture = qr::code(&link, io::stderr().is_terminal())?;
        output::say(format_args!(
            "\nOr scan this, and look whether the page shows the same code:\n{}{link}",
            *picture
        ));
    }
    Ok(())
}

fn wait(client: &Client, started: &StartedDeviceLoginView) -> Result<AccessTokenView, Failure> {
    let asked =
        [("grant_type", DEVICE_CODE), ("client_id", CLIENT), ("device_code", started.device_code.as_str())];
    let mut interval = Duration::from_secs(started.interval).clamp(FASTEST, SLOWEST);
    loop {
        thread::sleep(interval);
        let fault = match client.send_form("/oauth/token", &asked) {
            Ok(granted) => return Ok(granted),
            Err(fault) => fault,
        };
        match &fault {
            OAuthFault::Refused(name, _) if name == "authorization_pending" => {}
            OAuthFault::Refused(name, _) if name == "slow_down" => {
                interval = interval.saturating_add(SLOWER).min(SLOWEST);
            }
            OAuthFault::Refused(name, _) if name == "temporarily_unavailable" => {
                interval = SLOWEST.min(interval * 2);
            }
            OAuthFault::Refused(name, _) if name == "access_denied" => {
                return Err(Failure::failed("refused: this machine was not signed in"));
            }
            OAuthFault::Refused(name, _) if name == "expired_token" => {
                return Err(Failure::failed(
                    "nobody approved it in time: this machine was not signed in; run it again for another code",
                ));
            }
            _ => return Err(fault.into_failure()),
        }
    }
}
