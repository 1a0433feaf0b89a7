//! Replies to liveness probes: what an agent reads from the network.

use std::net::{IpAddr, Ipv6Addr};

use lb_common::addr::{Address, Mac};
use lb_common::packet::bfd::initiator::{
    FRAME_V4, FRAME_V6, Question, Reply, parse_reply, write_probe_v4, write_probe_v6,
};
use lb_common::packet::bfd::{PORT, State, reflect_v4, reflect_v6};

use crate::mutation::repair;

/// The frame is read, as it is and once its checksum is right, and a reply that is accepted is what a reflector makes of the
/// probe that it seems to answer.
pub fn run(data: &[u8]) {
    check(data);
    let mut repaired = data.to_vec();
    repair(&mut repaired);
    check(&repaired);
}

fn check(frame: &[u8]) {
    let Ok(reply) = parse_reply(frame) else { return };
    assert!(reply.nonce != 0 && reply.discriminator != 0, "{reply:?}");
    let asked_from_a_port = ![0, PORT].contains(&reply.port);
    if asked_from_a_port && let Some(again) = answer(&reply) {
        assert_eq!(parse_reply(&again), Ok(reply));
    }
}

/// The frame by which a reflector answers so; nothing where one address is mapped IPv4, and the other is not.
fn answer(reply: &Reply) -> Option<Vec<u8>> {
    const ASKING: Mac = [2, 0, 0, 0, 0, 1];
    let question = Question {
        from: ASKING,
        to: reply.mac,
        port: reply.port,
        nonce: reply.nonce,
        discriminator: reply.discriminator,
        state: State::Down,
        multiplier: 1,
        interval_us: 0,
    };
    let ip = |address: Address| Ipv6Addr::from(address.octets()).to_canonical();
    let (up, mut macs) = (reply.state == State::Up, [0; 12]);
    match (ip(reply.destination), ip(reply.source)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut frame = [0; FRAME_V4];
            write_probe_v4(&mut frame, &from.octets(), &to.octets(), &question);
            macs.copy_from_slice(&frame[..12]);
            reflect_v4(&mut macs, frame.last_chunk_mut()?, up);
            Some([&macs, &frame[12..]].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut frame = [0; FRAME_V6];
            write_probe_v6(&mut frame, &from.octets(), &to.octets(), &question);
            macs.copy_from_slice(&frame[..12]);
            reflect_v6(&mut macs, frame.last_chunk_mut()?, up);
            Some([&macs, &frame[12..]].concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::{env, fs};

    use lb_common::packet::bfd::initiator::parse_reply;

    use super::run;
    use crate::vectors::parse::vectors;

    /// The committed seeds are the replies of the vectors; with `BARELB_WRITE_SEEDS` set they are written.
    #[test]
    fn seeds_are_the_replies() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/bfd");
        let cases = vectors().unwrap().cases.into_iter().filter(|case| case.row().starts_with('S'));
        let replies: BTreeMap<String, Vec<u8>> =
            cases.filter_map(|case| Some((case.id.clone(), case.reply?))).collect();
        assert!(replies.len() > 10);
        for (id, reply) in &replies {
            run(reply);
            assert!(parse_reply(reply).is_ok(), "{id}");
        }
        if env::var_os("BARELB_WRITE_SEEDS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            replies.iter().for_each(|(id, reply)| fs::write(folder.join(id), reply).unwrap());
        }
        for (id, reply) in &replies {
            let seed = fs::read(folder.join(id)).unwrap();
            assert!(seed == *reply, "{id}: set BARELB_WRITE_SEEDS to write them anew");
        }
    }
}
