//! The infohash of a channel changes with the UTC day: nobody is lost over it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::{Spot, Tracker};
use bitchat_protocol::channel::ChatFile;
use serde_json::{Value, json};

use crate::scene::{MESH_WITHIN, PROGRAM, SOON, must_have_links, must_talk};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// From starting two nodes to both having told the tracker of both infohashes, however slow the
/// machine: so long before a change they are started.
const LEAD: i64 = 20;

/// Two homes, the file of a channel that rotates daily, and its infohashes of the day before a
/// midnight to come and of the day after it.
struct Night {
    homes: Vec<Home>,
    file: String,
    spot: Spot,
    midnight: i64,
    /// By how much longer than an hour each of the two announces both.
    margins: [i64; 2],
    before: String,
    after: String,
}

impl Night {
    fn new() -> Self {
        let spot = Spot::pick();
        let mut homes: Vec<Home> = (0..2).map(|_| Home::new(PROGRAM)).collect();
        let file = homes[0].path().join("team.chat").to_str().expect("UTF-8").to_owned();
        let midnight = (now() / DAY + 1) * DAY;
        homes[0].set_clock_ahead(midnight - MINUTE - now());
        let url = spot.udp_url();
        let made = homes[0].must_run(&[
            "--json",
            "channel",
            "new",
            "team",
            "--tracker",
            &url,
            "-o",
            &file,
        ]);
        let made: Value = serde_json::from_str(&made).expect("JSON");
        let infohash = |at: usize| made["infohashes"][at].as_str().expect("two").to_owned();
        let (before, after) = (infohash(0), infohash(1));
        let text = std::fs::read(&file).expect("just written");
        let keys = ChatFile::from_bytes(&text).expect("just written").keys();
        let margins = [0, 1].map(|home: usize| {
            let shown = homes[home].must_run(&["--json", "id", "show"]);
            let shown: Value = serde_json::from_str(&shown).expect("JSON");
            let peer = shown["id"].as_str().expect("an id").parse().expect("an id");
            i64::try_from(keys.overlap_margin(&peer).as_secs()).expect("less than an hour")
        });
        Self { homes, file, spot, midnight, margins, before, after }
    }

    /// Starts a tracker that serves these infohashes and no other; `None` where there is none.
    fn start_tracker(&self, infohashes: &[&str]) -> Option<Tracker> {
        let infohashes: Vec<_> = infohashes.iter().map(|infohash| (*infohash).to_owned()).collect();
        self.spot.start(&infohashes)
    }

    /// Starts both nodes, with clocks that stand so far from midnight, the second when the tracker
    /// knows the first: it dials, and one that has just started takes no word that may be from
    /// before, as that of a slower clock is.
    fn start_at(&mut self, from_midnight: [i64; 2]) -> Vec<Chat> {
        let ahead = self.midnight - now();
        for (home, seconds) in self.homes.iter_mut().zip(from_midnight) {
            home.set_clock_ahead(ahead + seconds);
        }
        let start = |home: &Home| home.chat(&[&self.file, "--set", "log.level=info"]);
        let mut first = start(&self.homes[0]);
        first.wait_for_talk(MESH_WITHIN, &["announced channel"]);
        vec![first, start(&self.homes[1])]
    }
}

/// The right time, in seconds.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("before the year 292 billion")
}

fn must_mesh_and_talk(chats: &mut [Chat]) {
    for chat in &mut *chats {
        must_have_links(chat, 1, MESH_WITHIN);
    }
    must_talk(chats, 0, 1, "still awake?");
    must_talk(chats, 1, 0, "already awake");
}

/// Asks until the tracker names so many members under an infohash.
fn must_name(tracker: &Tracker, chats: &mut [Chat], infohash: &str, count: usize) {
    let (began, within) = (Instant::now(), Duration::from_secs(45));
    while tracker.peers(infohash).len() != count {
        assert!(
            began.elapsed() < within,
            "not {count} within {within:?} but {:?}; {}",
            tracker.peers(infohash),
            chats[0].story()
        );
        chats[0].listen(Duration::from_millis(200));
    }
}

#[test]
fn on_either_side_of_midnight_the_infohash_of_either_day_is_enough() {
    for only in [0, 1] {
        let mut night = Night::new();
        let served = [&*night.before, &*night.after][only].to_owned();
        let Some(_tracker) = night.start_tracker(&[&served]) else { return };
        let mut chats = night.start_at([-25, 25]);
        must_mesh_and_talk(&mut chats);
    }
}

#[test]
fn an_hour_before_midnight_the_new_infohash_joins_the_old() {
    let mut night = Night::new();
    let Some(tracker) = night.start_tracker(&[&night.before, &night.after]) else { return };
    let joins = now() + LEAD;
    // Whose margin is greater joins first; the clocks must agree for a link.
    let first = night.margins[0].max(night.margins[1]);
    let count = night.margins.iter().filter(|margin| **margin == first).count();
    let mut chats = night.start_at([-HOUR - first - LEAD; 2]);
    must_mesh_and_talk(&mut chats);
    must_name(&tracker, &mut chats, &night.before, 2);
    let early = tracker.peers(&night.after);
    // A machine that is very slow is asked too late to tell.
    assert!(early.is_empty() || now() >= joins, "before its time: {early:?}");
    must_name(&tracker, &mut chats, &night.after, count);
    assert_eq!(tracker.peers(&night.before).len(), 2, "left too early");
}

#[test]
fn an_hour_after_midnight_the_old_infohash_is_left_and_the_new_one_is_enough() {
    let mut night = Night::new();
    let Some(tracker) = night.start_tracker(&[&night.before, &night.after]) else { return };
    let first = night.margins[0].min(night.margins[1]);
    let leave = night.margins.iter().filter(|margin| **margin == first).count();
    let mut chats = night.start_at([HOUR + first - LEAD; 2]);
    must_mesh_and_talk(&mut chats);
    must_name(&tracker, &mut chats, &night.after, 2);
    must_name(&tracker, &mut chats, &night.before, 2);
    must_name(&tracker, &mut chats, &night.before, 2 - leave);
    assert_eq!(tracker.peers(&night.after).len(), 2, "the new one is left, too");
    // The link stands, whatever it was found by; a node that comes now finds the other as well.
    must_talk(&mut chats, 0, 1, "a new day");
    assert_eq!(chats[1].end_input(SOON), Some(0));
    chats[1] = night.homes[1].chat(&[&night.file]);
    must_mesh_and_talk(&mut chats);
    assert_eq!(chats[1].ask("peers", json!({}), SOON)["mesh"], "full");
}
