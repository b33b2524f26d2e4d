//! Any one way of finding members is enough: each alone, between hosts that reach nothing else. The
//! local network's stories are in `lan`.

use std::net::{Ipv4Addr, SocketAddr};

use bitchat_integration_tests::namespace::Segment;
use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::Spot;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, is, must_have_links, must_talk};

/// The port of every node and of the tracker: each has a host to itself.
const PORT: u16 = 6881;

/// Hosts on one network, a home for each but the last, and the file of their common channel.
struct Site {
    homes: Vec<Home>,
    file: String,
    segment: Segment,
}

/// Where the node of a host is.
fn address(host: usize) -> SocketAddr {
    let host = u8::try_from(host).expect("few hosts");
    SocketAddr::from((Ipv4Addr::new(10, 99, 8, host + 1), PORT))
}

impl Site {
    /// Homes on hosts of their own, with every way of finding anybody switched off, and one more
    /// host; `None` where that is not allowed.
    fn build(homes: usize) -> Option<Self> {
        let addresses = (0..=homes).map(|host| format!("{}/24", address(host).ip()));
        let segment = Segment::lay(&addresses.collect::<Vec<_>>())?;
        let home = |host| {
            let mut home = Home::new(PROGRAM);
            home.set("network.listen_port", &PORT.to_string());
            for (key, value) in [
                ("trackers.enabled", "false"),
                ("trackers.default", ""),
                ("dht.enabled", "false"),
                ("lan.enabled", "false"),
            ] {
                home.set(key, value);
            }
            home.move_to(segment.host(host));
            home
        };
        let homes: Vec<Home> = (0..homes).map(home).collect();
        let file = homes[0].path().join("team.chat").to_str().expect("UTF-8").to_owned();
        Some(Self { homes, file, segment })
    }

    /// Makes the channel, with these trackers; its infohash.
    fn make_channel(&self, trackers: &[String]) -> String {
        let mut arguments = vec!["--json", "channel", "new", "team", "--fixed", "-o", &self.file];
        for url in trackers {
            arguments.extend(["--tracker", url]);
        }
        let made = self.homes[0].must_run(&arguments);
        let made: Value = serde_json::from_str(&made).expect("JSON");
        made["infohashes"][0].as_str().expect("an infohash").to_owned()
    }

    fn start(&self, home: usize) -> Chat {
        self.homes[home].chat(&[&self.file])
    }

    fn set(&mut self, homes: &[usize], key: &str, value: &str) {
        homes.iter().for_each(|home| self.homes[*home].set(key, value));
    }

    /// Has two meet on the local network, which is off before and after, and end.
    fn let_meet(&mut self, two: [usize; 2]) {
        self.set(&two, "lan.enabled", "true");
        let mut chats = two.map(|home| self.start(home));
        for chat in &mut chats {
            must_have_links(chat, 1, MESH_WITHIN);
        }
        for chat in &mut chats {
            assert_eq!(chat.end_input(SOON), Some(0), "{}", chat.story());
        }
        self.set(&two, "lan.enabled", "false");
    }
}

/// Waits for a full mesh whose links go to the nodes of these hosts and nowhere else.
fn must_be_linked_with(chat: &mut Chat, hosts: &[usize]) {
    must_have_links(chat, hosts.len(), MESH_WITHIN);
    let peers = chat.ask("peers", json!({}), SOON);
    let members = peers["members"].as_array().expect("a list");
    let parse = |member: &Value| member["address"].as_str().and_then(|text| text.parse().ok());
    let mut there: Vec<Option<SocketAddr>> = members.iter().map(parse).collect();
    there.sort_unstable();
    let mut expected: Vec<_> = hosts.iter().map(|host| Some(address(*host))).collect();
    expected.sort_unstable();
    assert_eq!(there, expected, "{peers}");
}

/// Each of two has something to say that the other hears.
fn must_both_talk(chats: &mut [Chat], one: usize, other: usize) {
    must_talk(chats, one, other, &format!("who is there? ({one}-{other})"));
    must_talk(chats, other, one, &format!("I am ({other}-{one})"));
}

fn a_tracker_alone_is_enough(url: impl Fn(Spot) -> String) {
    let Some(mut site) = Site::build(2) else { return };
    let spot = Spot::at(address(2));
    let infohash = site.make_channel(&[url(spot)]);
    site.set(&[0, 1], "trackers.enabled", "true");
    let host = site.segment.host(2);
    let Some(_tracker) = spot.start_in(Some(host), &[infohash]) else { return };
    let mut chats = [site.start(0), site.start(1)];
    must_be_linked_with(&mut chats[0], &[1]);
    must_be_linked_with(&mut chats[1], &[0]);
    must_both_talk(&mut chats, 0, 1);
}

#[test]
fn a_udp_tracker_alone_is_enough() {
    a_tracker_alone_is_enough(Spot::udp_url);
}

#[test]
fn an_http_tracker_alone_is_enough() {
    a_tracker_alone_is_enough(Spot::http_url);
}

#[test]
fn last_known_addresses_alone_are_enough() {
    let Some(mut site) = Site::build(2) else { return };
    site.make_channel(&[]);
    site.let_meet([0, 1]);
    let mut chats = [site.start(0), site.start(1)];
    must_be_linked_with(&mut chats[0], &[1]);
    must_be_linked_with(&mut chats[1], &[0]);
    must_both_talk(&mut chats, 0, 1);
}

#[test]
fn what_a_member_tells_alone_is_enough_to_reach_a_third() {
    let Some(mut site) = Site::build(3) else { return };
    site.make_channel(&[]);
    site.let_meet([0, 1]);
    site.let_meet([0, 2]);
    // To a host where nobody has ever met it: it comes in by the one address that it knows, and only
    // whom it finds there can tell it of the third, or the third of it.
    let elsewhere = site.segment.host(3).to_owned();
    site.homes[2].move_to(&elsewhere);
    let mut chats = vec![site.start(0), site.start(1)];
    must_be_linked_with(&mut chats[0], &[1]);
    must_be_linked_with(&mut chats[1], &[0]);
    chats.push(site.start(2));
    must_be_linked_with(&mut chats[2], &[0, 1]);
    must_be_linked_with(&mut chats[1], &[0, 3]);
    must_be_linked_with(&mut chats[0], &[1, 3]);
    must_both_talk(&mut chats, 1, 2);
    must_both_talk(&mut chats, 0, 2);
}

#[test]
fn without_any_of_them_nobody_is_found() {
    let Some(site) = Site::build(2) else { return };
    site.make_channel(&[]);
    let mut chats = [site.start(0), site.start(1)];
    for chat in &mut chats {
        chat.ask("peers", json!({}), SOON);
    }
    for chat in &mut chats {
        // The stories above take less until everybody is linked.
        chat.listen(MESH_WITHIN / 6);
        assert_eq!(chat.count(|line| is(line, "member_up")), 0, "{}", chat.story());
    }
}
