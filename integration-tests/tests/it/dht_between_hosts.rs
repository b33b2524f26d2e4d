//! The DHT alone is enough between hosts that reach nothing else, over either IP version: one host has the
//! libtorrent nodes, in as many networks, and each member has one to itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use bitchat_integration_tests::mainline::Mainline;
use bitchat_integration_tests::namespace::{Segment, inside};

use crate::dht::{FOUND_WITHIN, Member, NODES, must_find, must_meet};

/// The port of every member: each has a host to itself.
const PORT: u16 = 6881;

/// Networks, counted after those of the libtorrent nodes, of the members.
const MEMBERS: [usize; 2] = [101, 102];

/// Which node of the DHT announces what it has.
const ANNOUNCER: usize = 3;

/// Hosts that have addresses of this IP version alone.
#[derive(Debug, Clone, Copy)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// An address in a network of its own: a /24, or a /64. libtorrent takes one node of each.
    fn address(self, network: usize) -> IpAddr {
        let network = u8::try_from(network).expect("few networks");
        match self {
            Self::V4 => Ipv4Addr::new(10, 98, network, 1).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 0x98, 0, network.into(), 0, 0, 0, 1).into(),
        }
    }

    /// The same, as an interface is told of it: all networks are reached without a router.
    fn on_cable(self, network: usize) -> String {
        let prefix = match self {
            Self::V4 => 16,
            Self::V6 => 48,
        };
        format!("{}/{prefix}", self.address(network))
    }
}

/// A DHT on a host of its own, and two members who know one of its nodes.
struct Site {
    dht: Mainline,
    members: [Member; 2],
    segment: Segment,
}

/// The host of the DHT: those before it are the members'.
const DHT_HOST: usize = MEMBERS.len();

impl Site {
    /// `None` where there are no namespaces, or no libtorrent.
    fn build(family: Family) -> Option<Self> {
        let first = MEMBERS.into_iter().chain([0]).map(|network| family.on_cable(network));
        let segment = Segment::lay(&first.collect::<Vec<_>>())?;
        (1..NODES).for_each(|network| segment.give(DHT_HOST, &family.on_cable(network)));
        let nodes: Vec<IpAddr> = (0..NODES).map(|network| family.address(network)).collect();
        let dht = Mainline::start_in(segment.host(DHT_HOST), &nodes)?;
        let router = dht.nodes()[0].to_string();
        let mut members = MEMBERS
            .map(|network| Member::at(SocketAddr::new(family.address(network), PORT), &router));
        for (host, member) in members.iter_mut().enumerate() {
            member.home.move_to(segment.host(host));
        }
        Some(Self { dht, members, segment })
    }
}

fn two_members_find_each_other(family: Family) {
    let Some(Site { mut dht, members, segment: _segment }) = Site::build(family) else { return };
    let (file, infohash) = members[0].make_channel("team", &[]);
    must_meet(&members, &file, &infohash, &mut dht);
}

#[test]
fn two_members_that_know_one_node_of_the_dht_find_each_other_and_talk() {
    two_members_find_each_other(Family::V4);
}

#[test]
fn so_do_two_members_that_have_nothing_but_ipv6() {
    two_members_find_each_other(Family::V6);
}

fn libtorrent_finds_us_and_we_what_it_announced(family: Family) {
    let Some(Site { mut dht, members, segment }) = Site::build(family) else { return };
    let (file, infohash) = members[0].make_channel("team", &[]);
    let announcer = dht.nodes()[ANNOUNCER].ip();
    let bind = || UdpSocket::bind((announcer, 0));
    let bait = inside(segment.host(DHT_HOST), bind).expect("inside").expect("a free port");
    bait.set_read_timeout(Some(FOUND_WITHIN)).expect("a timeout");
    let announced = bait.local_addr().expect("bound");
    dht.announce(ANNOUNCER, &infohash, announced.port());

    let mut chat = members[0].home.chat(&[&file]);
    let mut packet = [0; 2048];
    let dialled = bait.recv_from(&mut packet);
    let (_, from) = dialled.unwrap_or_else(|error| panic!("{error}; {}", chat.story()));
    assert_eq!(from, members[0].address, "dialled from the port that is announced");

    let mut both = [announced, members[0].address];
    both.sort_unstable();
    must_find(&mut dht, &infohash, &both, &mut chat);
}

#[test]
fn a_libtorrent_client_finds_our_address_and_we_the_one_that_it_announced() {
    libtorrent_finds_us_and_we_what_it_announced(Family::V4);
}

#[test]
fn so_it_is_where_both_have_nothing_but_ipv6() {
    libtorrent_finds_us_and_we_what_it_announced(Family::V6);
}
