//! Who runs what stands behind the gate. An upstream under Fallgate's own OS user could read its home folder, root key
//! included: file access is the local command line's authority.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;

use fallgate_relay::{Address, Route};

/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// Who listens on this machine's ports, as the system says it.
pub(crate) struct Neighbours(HashMap<u16, u32>);

impl Neighbours {
    /// Those of this moment.
    pub(crate) fn now() -> Self {
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
        let mut all = HashMap::new();
        for (port, user) in tables.iter().flat_map(|table| listeners(table)) {
            all.entry(port).or_insert(user);
        }
        Self(all)
    }

    /// The user that an upstream on this machine runs as; `None` when it is elsewhere, or does not run, or the system does
    /// not say.
    pub(crate) fn user_of(&self, route: &Route) -> Option<u32> {
        match &route.upstream.as_ref()?.address {
            Address::Unix(path) => fs::metadata(path).ok().map(|metadata| metadata.uid()),
            Address::Tcp { host, port } => {
                let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
                self.0.get(port).filter(|_| local).copied()
            }
        }
    }
}

/// Who listens on which port, by a table in the form of `/proc/net/tcp` (proc(5)).
fn listeners(table: &str) -> impl Iterator<Item = (u16, u32)> {
    table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace();
        let (_number, local) = (columns.next()?, columns.next()?);
        let (_remote, state) = (columns.next()?, columns.next()?);
        let (_address, port) = local.rsplit_once(':')?;
        let user = columns.nth(3)?.parse().ok()?;
        let port = u16::from_str_radix(port, 16).ok()?;
        (state == LISTENING).then_some((port, user))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_table_tells_who_listens() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0
   1: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1001        0 4712 1 0 20 4 30 10 -1
broken
";
        assert_eq!(listeners(table).collect::<Vec<_>>(), [(0x1f90, 1000)], "the other does not listen");
    }

    #[test]
    fn a_real_listener_is_ours() {
        let listener_here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener_here.local_addr().unwrap().port();
        assert_eq!(Neighbours::now().0.get(&port), Some(&crate::lifecycle::user_id()));
    }
}
