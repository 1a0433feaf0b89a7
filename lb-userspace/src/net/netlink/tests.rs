use rtnetlink::packet_route::link::LinkMessage;

use super::*;

fn acknowledgement(sequence: u32, code: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(20u32.to_ne_bytes());
    bytes.extend(NLMSG_ERROR.to_ne_bytes());
    bytes.extend(0u16.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(code.to_ne_bytes());
    bytes
}

#[test]
fn reads_several_messages_of_one_datagram() {
    let datagram = [acknowledgement(1, 0), acknowledgement(2, -libc::ENOBUFS)].concat();
    let codes: Vec<_> = Messages::new(&datagram)
        .map(|message| message.map(|message| (message.header.sequence_number, message.refusal())).unwrap())
        .collect();
    assert_eq!(codes, [(1, Some(Errno(0))), (2, Some(Errno(libc::ENOBUFS)))]);
}

#[test]
fn stops_at_a_datagram_that_makes_no_sense() {
    let whole = acknowledgement(1, 0);
    for length in 1..whole.len() {
        let mut messages = Messages::new(&whole[..length]);
        assert!(matches!(messages.next(), Some(Err(NetlinkError::Malformed { .. }))), "{length} bytes");
        assert!(messages.next().is_none());
    }
    let mut endless = whole;
    endless[0] = 0;
    let mut messages = Messages::new(&endless);
    assert!(matches!(messages.next(), Some(Err(NetlinkError::Malformed { .. }))));
    assert!(messages.next().is_none());
}

#[test]
fn what_is_encoded_can_be_read_back() {
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let bytes = encode(&request, NLM_F_REQUEST | NLM_F_DUMP, 7);
    let read: Vec<_> = Messages::new(&bytes).map(Result::unwrap).collect();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].header.sequence_number, 7);
    assert_eq!(read[0].header.flags, NLM_F_REQUEST | NLM_F_DUMP);
    assert_eq!(read[0].object(), Some(request));
}

#[test]
fn asks_the_running_kernel() {
    let mut netlink = Netlink::open().unwrap();
    let links = netlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default())).unwrap();
    assert!(!links.is_empty(), "every namespace has at least lo");
    let mut missing = LinkMessage::default();
    missing.header.index = 2_000_000_000;
    let answer = netlink.get(&RouteNetlinkMessage::GetLink(missing.clone())).unwrap();
    assert_eq!(answer.unwrap_err(), Errno(libc::ENODEV));
    // Each request has its own answer, also over more than one send.
    let changes = vec![(RouteNetlinkMessage::GetLink(missing), 0); BATCH + 3];
    let results = netlink.apply(&changes).unwrap();
    assert_eq!(results, vec![Err(Errno(libc::ENODEV)); BATCH + 3]);
}
