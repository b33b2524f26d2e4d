#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use bitchat_protocol::channel::{Lineage, Right, TICKET_BYTES, Ticket, judge};
use bitchat_protocol::crypto::Secret;
use bitchat_protocol::identity::Identity;
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

const LINEAGE: Lineage = Lineage([9; 32]);

static PEOPLE: LazyLock<[Identity; 3]> =
    LazyLock::new(|| [1, 2, 3].map(|seed| Identity::from_seed(Secret::new([seed; 32]))));

/// The founder's ticket for the second, and the second's for the third.
static GENUINE: LazyLock<[Ticket; 2]> = LazyLock::new(|| {
    let [founder, second, third] = &*PEOPLE;
    let at = Some(Duration::from_secs(2_000_000_000));
    [
        Ticket::issue(founder, LINEAGE, second.peer_id(), Right::MayInvite, at),
        Ticket::issue(second, LINEAGE, third.peer_id(), Right::Member, None),
    ]
});

// The first byte: 0 and 1 change one of the two tickets, any other takes the rest as they are.
fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let mut bytes = match GENUINE.get(usize::from(mode)) {
        Some(genuine) => genuine.encode(),
        None => Vec::new(),
    };
    if bytes.is_empty() {
        bytes.extend_from_slice(script);
    } else {
        patch(&mut bytes, script);
    }
    let Ok(ticket) = Ticket::decode(&bytes) else { return };
    assert_eq!(bytes.len(), TICKET_BYTES);
    assert_eq!(ticket.encode(), bytes);
    let mut chain = GENUINE.to_vec();
    if let Some(place) = chain.get_mut(usize::from(mode)) {
        *place = ticket;
    }
    let [founder, _, third] = PEOPLE.each_ref().map(Identity::peer_id);
    let now = Duration::from_secs(1_900_000_000);
    let judged = judge(&chain, LINEAGE, &founder, &third, |_| false, now);
    assert_eq!(judged.is_ok(), chain == *GENUINE, "an altered chain lets nobody in");
});
