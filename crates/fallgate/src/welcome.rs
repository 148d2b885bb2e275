//! What a terminal shows as the gate starts, so that somebody gets in; and by which address other devices find the gate.

use std::io::{self, IsTerminal};
use std::net::IpAddr;

use fallgate_authority::Verifier;
use fallgate_domain::origin::Origin;
use fallgate_domain::setup::SetupToken;
use fallgate_domain::user::Username;
use fallgate_web::view::StartedPairingView;
use zeroize::Zeroizing;

use crate::config::ip_host;
use crate::failure::Failure;
use crate::{output, qr};

/// What it says where no phone could find the gate.
pub(crate) const OUT_OF_REACH: &str = "no phone can reach this gate at an address of its own machine: set server.public_url to what others reach it by";

/// Where other devices find what listens at `origin`: the same, but with an address of this machine where that says no
/// more than that it listens on all of them.
pub(crate) fn reached_at(origin: &str) -> String {
    let Ok(parsed) = Origin::parse(origin) else { return origin.to_owned() };
    let host = parsed.host.as_str().trim_matches(['[', ']']);
    match host.parse() {
        Ok(listening) if IpAddr::is_unspecified(&listening) => {
            let first = ip_host(first_address(listening, &addresses()));
            first.map_or_else(|| origin.to_owned(), |host| parsed.at(&host).text())
        }
        _ => origin.to_owned(),
    }
}

/// Whether a phone could open what begins so.
pub(crate) fn is_within_reach(origin: &str) -> bool {
    Origin::parse(origin).is_ok_and(|origin| !origin.is_loopback())
}

/// What is opened by whoever scans it, as a picture with the address under it.
pub(crate) fn code_and_link(link: &str) -> Result<Zeroizing<String>, Failure> {
    let picture = qr::code(link, io::stdout().is_terminal())?;
    Ok(Zeroizing::new(format!("{}{link}\n", *picture)))
}

/// Shows where the first admin is made, where stdout is a terminal.
pub(crate) fn show_setup(origin: &str, token: &SetupToken) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return Ok(());
    }
    let link = Zeroizing::new(format!("{origin}/setup#{}", token.expose()));
    let shown = if is_within_reach(origin) {
        code_and_link(&link)?
    } else {
        output::say(format_args!("  setup   {OUT_OF_REACH}"));
        Zeroizing::new(format!("{}\n", *link))
    };
    output::data(&Zeroizing::new(format!(
        "\nOpen this link to make the first admin; it is good for a day, once:\n\n{}\n",
        *shown
    )))
}

/// Shows a pairing code for that user, else for the first enabled admin, where stdout is a terminal. Whatever is in the
/// way of it is no reason not to serve.
pub(crate) async fn show_pairing(verifier: &Verifier, origin: &str, owner: Option<&Username>) {
    if !io::stdout().is_terminal() {
        return;
    }
    if !is_within_reach(origin) {
        output::say(format_args!("  pairing {OUT_OF_REACH}"));
        return;
    }
    let started = match verifier.start_pairing_at_start(owner).await {
        Ok(started) => started,
        Err(error) => {
            tracing::warn!("no pairing code is shown: {error}");
            return;
        }
    };
    let view = StartedPairingView::of(&started, origin);
    let shown = code_and_link(&view.url).and_then(|shown| {
        let username = &started.username;
        output::data(&Zeroizing::new(format!(
            "\nPair a phone as {username}: scan this within two minutes. It asks for {username}'s passphrase.\n{}Later, `fallgate pair` shows another code.\n",
            *shown
        )))
    });
    if let Err(failure) = shown {
        tracing::warn!("no pairing code is shown: {failure}");
    }
}

/// The first address of this machine that another one can use, for what listens on all of them; its loopback address when
/// there is none.
fn first_address(listening: IpAddr, addresses: &[IpAddr]) -> IpAddr {
    let usable = |ip: &&IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => listening.is_ipv6() && !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    // What listens on `::` takes IPv4 too, and that is what a phone at home has for sure.
    let mut usable: Vec<_> = addresses.iter().filter(usable).collect();
    usable.sort_by_key(|ip| ip.is_ipv6());
    let loopback = if listening.is_ipv4() {
        std::net::Ipv4Addr::LOCALHOST.into()
    } else {
        std::net::Ipv6Addr::LOCALHOST.into()
    };
    usable.first().map_or(loopback, |ip| **ip)
}

/// This machine's addresses, in the system's order; none if it does not tell.
fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().inspect_err(|error| {
        tracing::warn!(%error, "the system does not tell this machine's addresses");
    });
    interfaces.unwrap_or_default().iter().map(if_addrs::Interface::ip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_one_that_others_can_use() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let all = ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "2001:db8::7", "192.168.1.5", "100.64.0.7"]
            .map(ip);
        assert_eq!(first_address(ip("0.0.0.0"), &all), ip("192.168.1.5"));
        assert_eq!(first_address(ip("::"), &all), ip("192.168.1.5"));
        assert_eq!(first_address(ip("::"), &all[..5]), ip("2001:db8::7"));
        assert_eq!(first_address(ip("0.0.0.0"), &all[..5]), ip("127.0.0.1"));
        assert_eq!(first_address(ip("::"), &[]), ip("::1"));
    }

    #[test]
    fn only_what_listens_everywhere_goes_by_another_address() {
        for origin in
            ["https://box.example", "http://192.168.1.5:7400", "http://[::1]:7400", "http://localhost"]
        {
            assert_eq!(reached_at(origin), origin);
        }
        let reached = reached_at("https://0.0.0.0:7400");
        assert!(reached.starts_with("https://") && reached.ends_with(":7400"), "{reached}");
        assert!(!reached.contains("0.0.0.0"), "{reached}");
        assert!(is_within_reach("http://192.168.1.5:7400"));
        assert!(!is_within_reach("http://127.0.0.1:7400") && !is_within_reach("http://localhost"));
    }
}
