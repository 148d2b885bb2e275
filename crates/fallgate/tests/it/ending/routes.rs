//! The end of a route, and of who may use it, by a config that is read again.

use rustix::process::Signal;

use super::*;

impl Crowd {
    /// Has another config count: by the command, or by a hangup, whose end nobody hears of.
    fn reloads(&self, config: &str, by_signal: bool) -> Instant {
        self.gate.write_config(config);
        if by_signal {
            self.gate.signal(Signal::HUP);
            return Instant::now();
        }
        self.commands(&["reload"])
    }
}

/// All that is on the route `app`.
const ON_APP: [Who; 6] = [Bob, Child, BobsOther, SignedIn, Eve, Nobody];

#[test]
fn r57_a_route_that_is_gone_closes_all_that_is_on_it() {
    for by_signal in [false, true] {
        let crowd = Crowd::gather("", "user");
        let both = config(&crowd.upstream.url(), "");
        let other = both.split_at(both.rfind("[[route]]").unwrap()).1.to_owned();
        let ended = crowd.reloads(&other, by_signal);
        crowd.assert_closed(ended, 4401, &all(&ON_APP, "no longer permitted"));
    }
}

#[test]
fn r57_a_route_that_leads_elsewhere_closes_all_that_is_on_it() {
    for by_signal in [false, true] {
        let mut crowd = Crowd::gather("", "user");
        let changed = config(&crowd.upstream.url(), "identity = \"headers\"");
        let ended = crowd.reloads(&changed, by_signal);
        // Whoever comes again is let in, by the other route.
        let mut stays = Vec::new();
        for stream in std::mem::take(&mut crowd.open) {
            if ON_APP.contains(&stream.who) {
                stream.assert_closed(ended, 4401, "the route has changed");
            } else {
                stays.push(stream);
            }
        }
        for stream in &mut stays {
            stream.assert_open();
        }
        for who in EVERYBODY {
            drop(crowd.opened(who, Kind::Events));
        }
    }
}

#[test]
fn r57_a_list_that_is_narrower_closes_what_it_does_not_name() {
    for by_signal in [false, true] {
        let crowd = Crowd::gather("", "user");
        let narrower = config(&crowd.upstream.url(), "allow = [\"user:eve\"]");
        let ended = crowd.reloads(&narrower, by_signal);
        let closed = all(&[Bob, Child, BobsOther, SignedIn], "no longer permitted");
        crowd.assert_closed(ended, 4401, &closed);
    }
}
