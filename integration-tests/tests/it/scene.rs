//! What every story begins with: some homes, one channel, and a tracker that serves it.

use std::time::Duration;

use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::{Spot, Tracker};
use serde_json::{Value, json};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bitchat-under-test");

/// From starting the last node to every one having all its links.
pub(crate) const MESH_WITHIN: Duration = Duration::from_secs(15);

/// For what needs no search for anybody.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Homes, the file of their common channel, and where its tracker is to be.
pub(crate) struct Scene {
    pub(crate) homes: Vec<Home>,
    pub(crate) file: String,
    pub(crate) spot: Spot,
    pub(crate) infohash: String,
}

impl Scene {
    /// A fixed channel "team" with one UDP tracker; `count` homes, none of them started.
    pub(crate) fn new(count: usize) -> Self {
        Self::with_trackers(count, &[])
    }

    /// The same, where `before` come before the tracker.
    pub(crate) fn with_trackers(count: usize, before: &[String]) -> Self {
        let spot = Spot::pick();
        let homes: Vec<Home> = (0..count).map(|_| Home::new(PROGRAM)).collect();
        let file = homes[0].path().join("team.chat").to_str().expect("UTF-8").to_owned();
        let good = spot.udp_url();
        let mut arguments = vec!["--json", "channel", "new", "team", "--fixed", "-o", &file];
        for url in before.iter().chain([&good]) {
            arguments.extend(["--tracker", url]);
        }
        let made = homes[0].must_run(&arguments);
        let made: Value = serde_json::from_str(&made).expect("JSON");
        let infohash = made["infohashes"][0].as_str().expect("an infohash").to_owned();
        Self { homes, file, spot, infohash }
    }

    /// Starts the tracker; `None` where there is none on this machine.
    pub(crate) fn start_tracker(&self) -> Option<Tracker> {
        self.spot.start(std::slice::from_ref(&self.infohash))
    }

    /// Starts the node of one home.
    pub(crate) fn chat(&self, home: usize) -> Chat {
        self.chat_with(home, &[])
    }

    /// Starts the node of one home with these arguments.
    pub(crate) fn chat_with(&self, home: usize, arguments: &[&str]) -> Chat {
        self.homes[home].chat(&[&[&*self.file], arguments].concat())
    }

    /// Starts all nodes and waits until each is linked with every other.
    pub(crate) fn chat_all(&self) -> Vec<Chat> {
        self.chat_all_with(&[])
    }

    /// The same, where so many blind seeders run.
    pub(crate) fn chat_all_with_seeders(&self, seeders: usize) -> Vec<Chat> {
        let mut chats: Vec<Chat> = (0..self.homes.len()).map(|home| self.chat(home)).collect();
        for chat in &mut chats {
            must_have_links(chat, self.homes.len() - 1 + seeders, MESH_WITHIN);
        }
        chats
    }

    /// The same, with these arguments.
    pub(crate) fn chat_all_with(&self, arguments: &[&str]) -> Vec<Chat> {
        let homes = 0..self.homes.len();
        let mut chats: Vec<Chat> = homes.map(|home| self.chat_with(home, arguments)).collect();
        for chat in &mut chats {
            must_have_links(chat, self.homes.len() - 1, MESH_WITHIN);
        }
        chats
    }
}

/// Whether a line is a notice of this kind, and not of what was said by its reader.
pub(crate) fn is(line: &Value, method: &str) -> bool {
    line["method"] == method && line["params"]["own"] != true
}

/// Asks until the node has a full mesh of `links`.
pub(crate) fn must_have_links(chat: &mut Chat, links: usize, within: Duration) {
    let began = std::time::Instant::now();
    loop {
        let peers = chat.ask("peers", json!({}), SOON);
        let members = peers["members"].as_array().expect("a list");
        let linked = members.iter().filter(|member| member["linked"] == true).count();
        if peers["mesh"] == "full" && linked == links && members.len() == links {
            return;
        }
        if began.elapsed() >= within {
            panic!("no full mesh of {links} within {within:?}: {peers}; {}", chat.story());
        }
        // News of members is what changes the answer; without any it is asked again.
        chat.listen(Duration::from_millis(100));
    }
}

/// Has one say `text` and another hear it, once.
pub(crate) fn must_talk(chats: &mut [Chat], from: usize, to: usize, text: &str) {
    chats[from].ask("say", json!({ "text": text }), SOON);
    chats[to].wait_for(SOON, |line| is(line, "message") && line["params"]["text"] == text);
}
