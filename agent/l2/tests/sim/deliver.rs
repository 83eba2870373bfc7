//! What happens to a packet: on its way, in the kernel, at the agent.

use clarion_fence::{self as fence, Asked, Kind, Message};
use clarion_l2::machine::{Body, Input, decode};

use super::controller::{address_index, node_id};
use super::net::Packet;
use super::node::RING;
use super::world::{Event, Tamper, World};

impl World {
    pub(crate) fn transmit(&mut self, from: usize, to: usize, packet: Packet) {
        if !self.links.open(from, to) || (to < self.nodes.len() && !self.nodes[to].power) {
            return;
        }
        let [first, second] = self.config.quality.delays(&mut self.rng);
        if let Some(delay) = second {
            self.schedule(self.now + delay, Event::Arrive { to, from, packet: packet.clone() });
        }
        if let Some(delay) = first {
            self.schedule(self.now + delay, Event::Arrive { to, from, packet });
        }
    }

    pub(crate) fn arrive(&mut self, to: usize, from: usize, packet: Packet) {
        if to == self.config.nodes {
            return self.transmit(to, from, Packet::Pong);
        }
        if !self.nodes[to].power {
            return;
        }
        if self.nodes[to].frozen.is_some() {
            if self.nodes[to].ring.len() < RING {
                self.nodes[to].ring.push((from, packet));
            }
            return;
        }
        match packet {
            Packet::Signal(wire) => self.kernel(to, from, &wire),
            Packet::Datagram(bytes) => {
                if self.lets_pass(from, &bytes) {
                    self.input(to, Input::Datagram(bytes));
                }
            }
            Packet::WhoHas(address) => {
                if self.answers(to, address_index(address)) {
                    self.transmit(to, from, Packet::IsAt(address));
                }
            }
            Packet::IsAt(address) => {
                if self.config.tamper != Some(Tamper::NoResolve) {
                    self.input(to, Input::Answered(address));
                }
            }
            Packet::Ping => {}
            Packet::Pong => self.input(to, Input::Segment),
        }
    }

    fn lets_pass(&self, from: usize, bytes: &[u8]) -> bool {
        let node = match decode(bytes, &self.keys) {
            Ok((_, Body::Claim { node, .. })) => node,
            _ => return true,
        };
        match self.config.tamper {
            Some(Tamper::NoClaims) => false,
            Some(Tamper::NoForwarding) => node == node_id(from),
            _ => true,
        }
    }

    /// What the XDP program does with a probe or an answer.
    fn kernel(&mut self, node: usize, from: usize, wire: &fence::Wire) {
        let (keys, tamper, now) = (self.keys, self.config.tamper, self.now);
        let n = &mut self.nodes[node];
        let local = n.clock.local(now);
        n.maps.forget_promises(local);
        let Some(own) = n.maps.own.filter(|own| own.alive(local)) else { return };
        let Ok(mut message) = fence::open(wire, &keys) else { return };
        if message.to != own.id {
            return;
        }
        spoil(&mut message, tamper, local);
        let reply = match message.kind {
            Kind::Yes => return self.input(node, Input::Yes(*wire)),
            Kind::Ask => {
                let vote = message.vote();
                if n.maps.promise(vote.about, vote.inc, message.from, local) != Asked::Yes {
                    return;
                }
                message.yes(own.inc)
            }
            Kind::Probe | Kind::Answer => match n.maps.peers.get_mut(&message.from) {
                None => fence::answer_stranger(&own, &n.maps.leases.0, &message, local),
                Some(peer) => {
                    let leases = &mut n.maps.leases.0;
                    let _ = fence::receive(&own, leases, peer, &message, local);
                    if tamper == Some(Tamper::NoRoundTrip) && peer.rt != 0 {
                        peer.rt = local;
                    }
                    let promise = peer.promise;
                    fence::answer(&own, leases, peer, || promise, message.from, local)
                }
            },
        };
        if message.kind != Kind::Answer {
            let wire = fence::seal(&reply, &keys.current);
            self.signals += 1;
            self.transmit(node, from, Packet::Signal(wire));
        }
    }
}

fn spoil(message: &mut Message, tamper: Option<Tamper>, local: u64) {
    match tamper {
        Some(Tamper::LeaseFromArrival) if matches!(message.kind, Kind::Probe | Kind::Answer) => {
            message.echo = message.echo.min(1) * local;
        }
        Some(Tamper::NoHeartbeat) => message.beat_ms = 0,
        _ => {}
    }
}
