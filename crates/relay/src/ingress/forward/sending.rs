//! A request on its way up, streamed.

use std::net::IpAddr;
use std::task::{Context, Poll};

use fallgate_authority::Lease;
use fallgate_domain::live::StreamKind;

use super::READ_AHEAD;
use super::failure::Failure;
use crate::wire::buffer::Stock;
use crate::wire::patience::Vigil;
use crate::wire::pump::{Pump, PumpError, Side};
use crate::wire::socket::Wire;

/// The request on its way up, and after that an eye on the client.
pub(super) struct Sending {
    pub(super) pump: Pump,
    /// The upstream takes no more of it; perhaps it has answered early.
    refused: bool,
    vigil: Vigil,
    /// Whoever looks at what is live was told that it flows.
    told: bool,
}

impl Sending {
    pub(super) fn new(pump: Pump) -> Self {
        Self { pump, refused: false, vigil: Vigil::default(), told: false }
    }

    pub(super) fn is_done(&self) -> bool {
        self.pump.is_done()
    }

    /// Tells whoever looks at what is live of a body that does not come at once.
    pub(super) fn tell(&mut self, lease: &Lease, ip: Option<IpAddr>) {
        if self.pump.is_read() {
            if self.told {
                lease.flows_nothing();
            }
        } else if !std::mem::replace(&mut self.told, true) {
            lease.flows(StreamKind::Upload, ip);
        }
        lease.came_in(self.pump.passed());
    }

    /// Whether it waits for more of the request to come from the client.
    pub(super) fn client_owes(&self) -> bool {
        !self.refused && !self.pump.is_read() && self.pump.waits_for() == Side::Source
    }

    /// Sends what can be sent; afterwards notices when the client leaves. Fails with what ends the exchange.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Wire,
        upstream: &mut Wire,
        stock: &Stock,
    ) -> Result<(), Failure> {
        if !self.refused && !self.pump.is_done() {
            match self.pump.poll(context, client, upstream, stock) {
                Poll::Ready(Err(PumpError::Malformed(malformed))) => {
                    return Err(Failure::ClientMalformed(malformed));
                }
                Poll::Ready(Err(PumpError::Source(_))) => return Err(Failure::ClientGone),
                // Whatever it says before it closes is still its answer.
                Poll::Ready(Err(PumpError::Sink)) => self.refused = true,
                Poll::Ready(Ok(())) => {}
                Poll::Pending => {
                    let unread = self.pump.waits_for() == Side::Sink;
                    return self.look_after(context, client, unread);
                }
            }
        }
        // A client that leaves ends the request; one that sends the next one early has it taken in, to a point.
        while self.pump.is_read() && client.input.len() < READ_AHEAD {
            match client.poll_fill(context, stock, false) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(Failure::ClientGone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        self.look_after(context, client, !client.input.is_empty())
    }

    fn look_after(&mut self, context: &mut Context<'_>, client: &Wire, unread: bool) -> Result<(), Failure> {
        match self.vigil.poll_gone(context, client, unread) {
            Poll::Ready(()) => Err(Failure::ClientGone),
            Poll::Pending => Ok(()),
        }
    }
}
