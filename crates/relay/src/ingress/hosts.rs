//! Which `Host` a request may name: anything else is answered `421`, so that a rebound name reaches nothing.

use std::collections::HashSet;

use fallgate_domain::host::Host;

/// The hosts that are ours, besides those of routes.
#[derive(Debug, Clone, Default)]
pub struct Hosts(HashSet<Box<str>>);

impl Hosts {
    /// The public URL's host, the address listened on, `server.hosts`; `localhost` is always among them.
    pub fn new(hosts: impl IntoIterator<Item = Host<'static>>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.as_str().into());
        Self(hosts.chain(["localhost".into()]).collect())
    }

    /// Whether our own pages and API may be asked for under this name. An IP literal always may: no name was
    /// resolved, so none can be rebound.
    pub(crate) fn knows(&self, host: &Host<'_>) -> bool {
        host.is_ip_literal() || self.0.contains(host.as_str())
    }
}
