//! Announcements become frames, with the tags of their VLAN in band, and are sent.

use std::net::IpAddr;
use std::time::Duration;

use lb_common::packet::{arp, ethernet, ndp};
use lb_core::burst::{Announcement, Asked, Bursts, Form};
use lb_core::ids::{Mac, Vlans};
use lb_core::plan::{EntryState, Plan, Target};
use lb_core::pool::Family;

use super::metrics::Metrics;
use crate::net::raw::{RawSender, SendError};

/// Announcement frames per wake-up, so that the deadline is moved in time however many are due.
const FRAMES_AT_ONCE: usize = 2048;
/// When a frame that the kernel does not take is tried again.
const BUSY: Duration = Duration::from_millis(100);

/// The socket, and what became of the frames.
pub(super) struct Sender {
    socket: RawSender,
    pub(super) sent: u64,
    pub(super) errors: u64,
    metrics: Metrics,
}

impl Sender {
    pub(super) fn new(socket: RawSender, metrics: Metrics) -> Self {
        Self { socket, sent: 0, errors: 0, metrics }
    }

    /// Sends what is due, as much as fits before the deadline must be moved again.
    pub(super) fn send_due(&mut self, bursts: &mut Bursts, plan: &Plan, now: Duration) {
        let due = bursts.take_due(now, FRAMES_AT_ONCE);
        let framed = due.into_iter().filter_map(|announcement| {
            // Nothing is said of what another node answers for.
            let entry = plan.desired.get(&announcement.target)?;
            let owned = entry.state == EntryState::Answer;
            let frame = owned.then(|| frame(&announcement, entry.mac)).flatten()?;
            Some((announcement, (announcement.target.link.0, frame)))
        });
        let (announcements, frames): (Vec<Announcement>, Vec<(u32, Vec<u8>)>) = framed.unzip();
        let (mut sent, mut refused) = (Vec::with_capacity(frames.len()), 0);
        for (announcement, result) in announcements.iter().zip(self.socket.send_batch(&frames)) {
            match result {
                Ok(()) => sent.push(announcement.target),
                Err(SendError::Busy) => bursts.put_back(announcement, now + BUSY),
                Err(error) => {
                    refused += 1;
                    tracing::debug!(%error, target = %announcement.target, "announcement not sent");
                }
            }
        }
        self.count(&sent, refused);
    }

    /// Announces what somebody else claims, once. A frame that the kernel does not take is not tried again: the next claim
    /// finds the address undefended.
    pub(super) fn defend(&mut self, target: Target, mac: Mac) {
        let form = match Family::of(target.ip) {
            Family::Ipv4 => Form::ArpRequest,
            Family::Ipv6 => Form::NeighbourAdvertisement,
        };
        let frame = frame(&Announcement { target, round: 0, form, refusals: 0 }, mac);
        self.send_once(frame.map(|frame| (target, frame)).into_iter().collect());
    }

    /// Tells those that asked last, each by itself.
    ///
    /// Beside the broadcast that is no luxury: a switch that limits broadcasts drops of a thousand of them any, and a frame
    /// to one station none. ARP does it by a request for that station's own address: who is asked has to take over the
    /// sender's (RFC 826), also where gratuitous ARP is ignored (routers have a switch for that), and Linux does so within
    /// `locktime` too (`neigh_event_ns` overrides), where it ignores a second announcement.
    pub(super) fn introduce(&mut self, direct: &[(Target, Asked)], plan: &Plan) {
        let framed = direct.iter().filter_map(|(target, asked)| {
            let mac = plan.desired.get(target)?.mac;
            Some((*target, introduction(*target, mac, asked)?))
        });
        self.send_once(framed.collect());
    }

    /// What is not taken is lost.
    fn send_once(&mut self, framed: Vec<(Target, Vec<u8>)>) {
        let (targets, frames): (Vec<Target>, Vec<(u32, Vec<u8>)>) =
            framed.into_iter().map(|(target, frame)| (target, (target.link.0, frame))).unzip();
        let results = self.socket.send_batch(&frames);
        let (mut sent, mut refused) = (Vec::with_capacity(frames.len()), 0);
        for (target, result) in targets.into_iter().zip(results) {
            match result {
                Ok(()) => sent.push(target),
                Err(error) => {
                    refused += 1;
                    tracing::debug!(%error, %target, "announcement not sent");
                }
            }
        }
        self.count(&sent, refused);
    }

    fn count(&mut self, sent: &[Target], refused: u64) {
        self.sent += u64::try_from(sent.len()).unwrap_or(u64::MAX);
        self.errors += refused;
        self.metrics.announced(sent, refused);
    }
}

/// The frame that tells a station that asked; nothing where it has no address of the family.
fn introduction(target: Target, mac: Mac, asked: &Asked) -> Option<Vec<u8>> {
    let mut macs = [0; 12];
    let (ethertype, payload) = match (target.ip, asked.ip) {
        (IpAddr::V4(ip), IpAddr::V4(to)) => {
            let mut message = [0; arp::LEN];
            let (sender, to) = ((&mac.0, &ip.octets()), (&asked.mac.0, &to.octets()));
            arp::write_introduction(&mut macs, &mut message, sender, to);
            (ethernet::ARP, message.to_vec())
        }
        (IpAddr::V6(ip), IpAddr::V6(to)) => {
            let mut advert = [0; ndp::ADVERT_LEN];
            let (sender, to) = ((&mac.0, &ip.octets()), (&asked.mac.0, &to.octets()));
            ndp::write_introduction(&mut macs, &mut advert, sender, to);
            (ethernet::IPV6, advert.to_vec())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    };
    Some(tagged(macs, target.vlans, ethertype, &payload))
}

/// The frame of an announcement from a link with this hardware address.
pub(super) fn frame(announcement: &Announcement, mac: Mac) -> Option<Vec<u8>> {
    let mut macs = [0; 12];
    let (ethertype, payload) = match (announcement.target.ip, announcement.form) {
        (IpAddr::V4(ip), form) => {
            let mut message = [0; arp::LEN];
            match form {
                Form::ArpRequest => arp::write_announcement(&mut macs, &mut message, &mac.0, &ip.octets()),
                Form::ArpReply => {
                    arp::write_announcement_reply(&mut macs, &mut message, &mac.0, &ip.octets());
                }
                Form::NeighbourAdvertisement => return None,
            }
            (ethernet::ARP, message.to_vec())
        }
        (IpAddr::V6(ip), Form::NeighbourAdvertisement) => {
            let mut advert = [0; ndp::ADVERT_LEN];
            ndp::write_unsolicited(&mut macs, &mut advert, &mac.0, &ip.octets());
            (ethernet::IPV6, advert.to_vec())
        }
        (IpAddr::V6(_), Form::ArpRequest | Form::ArpReply) => return None,
    };
    Some(tagged(macs, announcement.target.vlans, ethertype, &payload))
}

fn tagged(macs: ethernet::Macs, vlans: Vlans, ethertype: ethernet::EtherType, payload: &[u8]) -> Vec<u8> {
    let mut frame = macs.to_vec();
    for (tpid, id) in tags(vlans) {
        frame.extend(tpid.to_ne_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ethertype.to_ne_bytes());
    frame.extend(payload);
    frame
}

/// Outermost first. The outer of two is a service tag (802.1ad).
fn tags(vlans: Vlans) -> Vec<(ethernet::EtherType, u16)> {
    match vlans.ids() {
        (0, _) => Vec::new(),
        (outer, 0) => vec![(ethernet::VLAN, outer)],
        (outer, inner) => vec![(ethernet::SERVICE_VLAN, outer), (ethernet::VLAN, inner)],
    }
}

#[cfg(test)]
mod tests {
    use lb_core::ids::LinkId;
    use lb_core::plan::Target;

    use super::*;

    fn hex(form: Form, ip: &str, vlans: &str) -> String {
        let vlans = if vlans.is_empty() { Vlans::Untagged } else { vlans.parse().unwrap() };
        let target = Target { link: LinkId(1), vlans, ip: ip.parse().unwrap() };
        let frame =
            frame(&Announcement { target, round: 0, form, refusals: 0 }, Mac([2, 0, 0, 0, 0, 0xaa])).unwrap();
        text(&frame)
    }

    /// Golden frames (RFC 5227 section 2.3, RFC 4861 section 7.2.6).
    #[test]
    fn golden() {
        let request = "ffffffffffff0200000000aa080600010800060400010200000000aac0000264000000000000c0000264";
        let reply = "ffffffffffff0200000000aa080600010800060400020200000000aac00002640200000000aac0000264";
        let advert = "3333000000010200000000aa86dd6000000000203aff20010db8000000000000000000000064ff0200000000000000\
                      000000000000018800f7bb2000000020010db800000000000000000000006402010200000000aa";
        assert_eq!(hex(Form::ArpRequest, "192.0.2.100", ""), request);
        assert_eq!(hex(Form::ArpReply, "192.0.2.100", ""), reply);
        assert_eq!(hex(Form::NeighbourAdvertisement, "2001:db8::64", ""), advert);
        let tagged = request.replacen("0806", "8100002a0806", 1);
        assert_eq!(hex(Form::ArpRequest, "192.0.2.100", "42"), tagged);
        let double = advert.replacen("86dd", "88a800648100002a86dd", 1);
        assert_eq!(hex(Form::NeighbourAdvertisement, "2001:db8::64", "100.42"), double);
    }

    /// To one station, from its own address of the family (RFC 826; RFC 4861 section 7.2.6).
    #[test]
    fn golden_introductions() {
        let told = |vlans: &str, ip: &str, to: &str| {
            let vlans = if vlans.is_empty() { Vlans::Untagged } else { vlans.parse().unwrap() };
            let target = Target { link: LinkId(1), vlans, ip: ip.parse().unwrap() };
            let asked = Asked { at_ns: 1, mac: Mac([2, 0, 0, 0, 0, 0xbb]), ip: to.parse().unwrap() };
            introduction(target, Mac([2, 0, 0, 0, 0, 0xaa]), &asked).map(|frame| text(&frame))
        };
        let request = "0200000000bb0200000000aa080600010800060400010200000000aac0000264000000000000c000020a";
        let advert = "0200000000bb0200000000aa86dd6000000000203aff20010db800000000000000000000006420010db8000000000000\
                      0000000000108800c8f62000000020010db800000000000000000000006402010200000000aa";
        assert_eq!(told("", "192.0.2.100", "192.0.2.10").as_deref(), Some(request));
        assert_eq!(told("", "2001:db8::64", "2001:db8::10").as_deref(), Some(advert));
        assert_eq!(
            told("42", "192.0.2.100", "192.0.2.10"),
            Some(request.replacen("0806", "8100002a0806", 1))
        );
        assert_eq!(told("", "192.0.2.100", "2001:db8::10"), None);
    }

    fn text(frame: &[u8]) -> String {
        let digits = frame.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|n| char::from_digit(n.into(), 16)).collect()
    }
}
