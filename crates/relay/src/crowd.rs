//! How many connections each client network has open, so that none takes all there are (requirement R67).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Everybody who is connected, by network: one IPv4 address, or 64 bits of IPv6, which is what one customer has.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place in it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    network: IpAddr,
}

impl Crowd {
    /// A place for a connection from there; `None`: its network has that many already.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr, limit: usize) -> Option<Place> {
        let network = network_of(peer);
        let mut networks = self.0.lock();
        let open = networks.entry(network).or_default();
        if *open >= limit {
            return None;
        }
        *open += 1;
        Some(Place { crowd: self.clone(), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut networks = self.crowd.0.lock();
        if let Some(open) = networks.get_mut(&self.network) {
            *open -= 1;
            // Whoever has left takes up no memory.
            if *open == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

/// All streams that are being served on connections that carry many: those cost their client next to nothing, and are
/// counted as connections are.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: Arc<AtomicUsize>,
    crowd: Arc<Crowd>,
}

/// One stream's place among them, until it is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    open: Arc<AtomicUsize>,
    _of_its_network: Option<Place>,
}

impl Streams {
    /// A place for a stream; `None`: there are that many already. `peer`: whose network is counted, if any is.
    pub(crate) fn enter(
        &self,
        peer: Option<IpAddr>,
        most: usize,
        most_per_network: usize,
    ) -> Option<StreamPlace> {
        let of_its_network = match peer {
            Some(peer) => Some(self.crowd.enter(peer, most_per_network)?),
            None => None,
        };
        let place = StreamPlace { open: self.open.clone(), _of_its_network: of_its_network };
        // One that has no place gives it back at once.
        (self.open.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r67_no_network_has_more_places_than_it_may_and_those_that_left_are_forgotten() {
        let crowd = Arc::new(Crowd::default());
        let enter = |peer: &str| crowd.enter(peer.parse().unwrap(), 2);
        let (first, second) = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some() && enter("192.0.2.1").is_none());
        let others = [enter("192.0.2.2"), enter("2001:db8::1"), enter("2001:db8::2:1")];
        assert!(others.iter().all(Option::is_some));
        assert!(enter("2001:db8::ffff:0:0:1").is_none() && enter("2001:db8:0:1::1").is_some());
        drop(first);
        let again = enter("192.0.2.1");
        assert!(again.is_some() && enter("192.0.2.1").is_none());
        drop((second, others, again));
        assert!(crowd.0.lock().is_empty());
    }
}
