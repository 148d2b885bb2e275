//! What a config may say, and what may not be meant by it.

use fallgate_domain::clock::Timestamp;
use fallgate_domain::host::Host;
use fallgate_domain::route::Admit;
use fallgate_relay::{Entrance, OwnCertificate, Route};

use super::Config;

/// What other machines can reach, and what is to be done about it.
const EXPOSED: &str = "other machines can reach this address, and tokens come over plain http: set server.tls, or put a proxy with TLS before it, set server.public_url and name the proxy in server.trusted_proxies, or listen on 127.0.0.1";

impl Config {
    /// What is allowed, and may not be what was meant.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_exposed() {
            warnings.push(format!("{}: {EXPOSED}", self.listen.value));
        }
        let by_host = self.routes.iter().find(|route| matches!(route.entrance, Entrance::Host(_)));
        if let Some(route) = by_host.filter(|_| self.public_url.is_none()) {
            warnings.push(format!(
                "whoever opens the route {} in a browser is sent to sign in at {}: if that is not where browsers find \
                 this gate, set server.public_url",
                route.policy.name,
                self.origin()
            ));
        }
        for route in self.routes.iter() {
            let name = &route.policy.name;
            if route.same_origin() {
                warnings.push(format!(
                    "the route {name} has same_origin = true: whatever its upstream serves can act as whoever looks at \
                     it, on Fallgate's own pages too"
                ));
            }
            if let Some(warning) = opened(route) {
                warnings.push(warning);
            }
            if route.upstream.is_none() && self.trusted_proxies.value.is_empty() {
                warnings.push(format!(
                    "the route {name} has no upstream, so another proxy has to ask about it, and none may: name it in \
                     server.trusted_proxies"
                ));
            } else if route.upstream.is_none() && !self.forward_auth.value {
                warnings.push(format!(
                    "the route {name} has no upstream, so another proxy has to ask about it, and none may: take \
                     server.forward_auth = false out"
                ));
            }
        }
        warnings
    }

    /// Whether other machines can come in, and nothing says that they come by TLS.
    pub(crate) fn is_exposed(&self) -> bool {
        // Whoever comes past a proxy that is not known comes without its TLS, too.
        let proxied = self.public_url.as_ref().is_some_and(|url| url.value.0.https)
            && !self.trusted_proxies.value.is_empty();
        self.listen.value.ip().is_some_and(|ip| !ip.is_loopback()) && self.tls.is_none() && !proxied
    }

    /// Why clients may not take our certificate under the names that the config gives this place.
    pub(crate) fn certificate_doubts(&self, certificate: &OwnCertificate, now: Timestamp) -> Vec<String> {
        let public = self.public_url.as_ref().map(|url| &url.value.0.host);
        let of_routes = self.routes.iter().filter_map(|route| match &route.entrance {
            Entrance::Host(host) => Some(host),
            Entrance::Path { .. } => None,
        });
        let names = public.into_iter().chain(&self.hosts.value).chain(of_routes);
        certificate.doubts(names.map(Host::as_str), now)
    }

    /// The users and agents that routes name, each with a route that does.
    pub(crate) fn named(&self) -> Vec<(&Admit, &Route)> {
        let allowed = self.routes.iter().flat_map(|route| {
            let list = route.policy.admission.allow.iter();
            list.map(move |admit| (admit, route))
        });
        allowed.filter(|(admit, _)| matches!(admit, Admit::User(_) | Admit::Agent(_))).collect()
    }
}

/// Whatever a public path lets through has the operator's secrets with it, and nobody's name.
fn opened(route: &Route) -> Option<String> {
    let (name, public) = (&route.policy.name, &route.policy.terms.public);
    let first = public.first()?;
    let injected: Vec<_> = route.inject.iter().map(|(name, _)| name.as_str()).collect();
    if !injected.is_empty() {
        return Some(format!(
            "the route {name} injects {} into each request, also into those for its public path {first}, which need no \
             credential: whoever asks for that speaks to the upstream with it",
            injected.join(" and ")
        ));
    }
    let whole = public.iter().any(|path| path.as_str() == "/");
    (whole && (route.identity.headers || route.identity.assertion)).then(|| {
        format!(
            "the route {name} is public as a whole, so its upstream is told of nobody, whatever identity says"
        )
    })
}
