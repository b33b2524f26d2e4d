//! Whole nodes, each a process of its own, in one channel with one tracker, and their clients.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bitchat_integration_tests::control::{Client, Daemon};
use bitchat_integration_tests::namespace::Segment;
use bitchat_integration_tests::node::Home;
use bitchat_integration_tests::tracker::{Spot, Tracker};
use serde_json::{Value, json};

use crate::room::{Room, Told, What, number_of, text};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bitchat-under-test");

/// Requests of one speaker that are not answered: clients of its node, each of which waits for its
/// answer.
const CLIENTS: usize = 8;

/// How long anything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host without any network but its own loopback.
#[derive(Debug)]
pub(crate) struct Host(Segment);

impl Host {
    pub(crate) fn new() -> Option<Self> {
        Segment::lay(&["10.9.9.1/24".to_owned()]).map(Self)
    }

    pub(crate) fn name(&self) -> &str {
        self.0.host(0)
    }
}

/// Homes, the file of their channel, and its tracker.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) homes: Vec<Home>,
    pub(crate) file: String,
    _tracker: Tracker,
}

impl Scene {
    /// `count` homes on the host, none of them started; the first `joined` are in the channel.
    pub(crate) fn new(host: &Host, count: usize, joined: usize) -> Option<Self> {
        let spot = Spot::pick();
        let mut homes: Vec<Home> = (0..count).map(|_| Home::new(PROGRAM)).collect();
        homes.iter_mut().for_each(|home| home.move_to(host.name()));
        let file = homes[0].path().join("team.chat").to_str().expect("UTF-8").to_owned();
        let tracker = spot.udp_url();
        let made = ["--json", "channel", "new", "team", "--fixed", "-o", &file];
        let made = homes[0].must_run(&[&made[..], &["--tracker", &tracker]].concat());
        let made: Value = serde_json::from_str(&made).expect("JSON");
        let infohash = made["infohashes"][0].as_str().expect("an infohash").to_owned();
        for home in homes.iter().take(joined).skip(1) {
            home.must_run_quietly(&["channel", "join", &file]);
        }
        let tracker = spot.start_in(Some(host.name()), &[infohash])?;
        Some(Self { homes, file, _tracker: tracker })
    }
}

/// Waits until a node is linked with so many.
pub(crate) fn wait_for_links(client: &mut Client, links: usize) {
    let began = Instant::now();
    while linked(client) < links {
        assert!(began.elapsed() < PATIENCE, "{links} links do not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn linked(client: &mut Client) -> usize {
    let peers = client.ask("peers", &json!({}));
    let members = peers["members"].as_array().expect("a list");
    members.iter().filter(|member| member["linked"] == true).count()
}

/// A client for what is not measured.
pub(crate) fn client(home: &Home) -> Client {
    Client::connect(home, PATIENCE)
}

/// Running nodes, all linked with all, and a client of each that is told everything.
pub(crate) struct Nodes {
    told: Receiver<Told>,
    stop: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<()>>,
    speakers: Vec<Speaker>,
    daemons: Vec<Daemon>,
    _scene: Scene,
}

impl Nodes {
    pub(crate) fn start(host: &Host, count: usize) -> Option<Self> {
        let scene = Scene::new(host, count, count)?;
        let daemons: Vec<Daemon> = scene.homes.iter().map(Daemon::begin).collect();
        for home in &scene.homes {
            wait_for_links(&mut client(home), count - 1);
        }
        let (sender, told) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let watch = |home: &Home| {
            let (watcher, stop) = (Watcher::new(home, sender.clone()), Arc::clone(&stop));
            std::thread::spawn(move || watcher.watch(&stop))
        };
        let watchers = scene.homes.iter().map(watch).collect();
        let speakers = scene.homes.iter().map(Speaker::new).collect();
        Some(Self { told, stop, watchers, speakers, daemons, _scene: scene })
    }
}

impl Room for Nodes {
    fn told(&self) -> &Receiver<Told> {
        &self.told
    }

    fn say(&mut self, member: usize, numbers: Vec<u64>) {
        self.speakers[member].say(numbers);
    }

    fn pids(&self) -> Vec<u32> {
        self.daemons.iter().map(Daemon::pid).collect()
    }

    fn settle(&mut self) {
        self.speakers.iter_mut().for_each(Speaker::settle);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.watchers.drain(..).for_each(|watcher| drop(watcher.join()));
        self.daemons.iter_mut().for_each(Daemon::kill);
    }
}

/// Clients of one node that say what is to be said, each what comes next.
struct Speaker {
    numbers: Sender<u64>,
    done: Receiver<()>,
    open: usize,
}

impl Speaker {
    fn new(home: &Home) -> Self {
        let (numbers, queue) = channel::<u64>();
        let (sender, done) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..CLIENTS {
            let (mut client, sender, queue) = (client(home), sender.clone(), Arc::clone(&queue));
            let next = move || queue.lock().expect("nobody panics with it").recv();
            // Ends with the queue.
            std::thread::spawn(move || {
                while let Ok(number) = next() {
                    let key = format!("{number:032x}");
                    client.ask("say", &json!({"text": text(number), "key": key}));
                    let _ = sender.send(());
                }
            });
        }
        Self { numbers, done, open: 0 }
    }

    fn say(&mut self, numbers: Vec<u64>) {
        self.open += numbers.len();
        numbers.into_iter().for_each(|number| self.numbers.send(number).expect("a client"));
    }

    fn settle(&mut self) {
        while self.open > 0 {
            self.done.recv_timeout(PATIENCE).expect("all is said");
            self.open -= 1;
        }
    }
}

/// A client as the documentation wants it: goes by notifications, and where one is missing by what
/// the node has kept.
struct Watcher {
    stream: BufReader<UnixStream>,
    told: Sender<Told>,
    /// The last event that was dealt with.
    seq: u64,
}

impl Watcher {
    /// How long nothing may come, before the node is asked whether there is more.
    const PAUSE: Duration = Duration::from_millis(300);

    fn new(home: &Home, told: Sender<Told>) -> Self {
        let path = home.data_dir().join("default/control");
        let stream = UnixStream::connect(path).expect("a running node");
        stream.set_read_timeout(Some(Self::PAUSE)).expect("not zero");
        let mut watcher = Self { stream: BufReader::new(stream), told, seq: 0 };
        watcher.request("subscribe", &json!({}));
        watcher
    }

    fn request(&mut self, method: &str, params: &Value) {
        let line = json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params});
        writeln!(self.stream.get_mut(), "{line}").expect("the node reads");
    }

    fn watch(mut self, stop: &AtomicBool) {
        let (mut line, mut is_asking) = (String::new(), false);
        while !stop.load(Ordering::Relaxed) {
            let begun = !line.is_empty();
            match self.stream.read_line(&mut line) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !begun && line.is_empty() && !is_asking {
                        self.request("events", &json!({"since": self.seq, "limit": 1000}));
                        is_asking = true;
                    }
                    continue;
                }
                Err(_) => return,
            }
            let at = Instant::now();
            let value: Value = serde_json::from_str(&line).expect("one JSON object a line");
            line.clear();
            let mut has_gap = false;
            if value["id"] == "events" {
                is_asking = false;
                let events = value["result"]["events"].as_array().expect("a list");
                events.iter().for_each(|event| {
                    self.take(event, at);
                });
                has_gap = events.len() == 1000;
            } else if value["method"].is_string() {
                has_gap = !self.take(&value, at);
            }
            if has_gap && !is_asking {
                self.request("events", &json!({"since": self.seq, "limit": 1000}));
                is_asking = true;
            }
        }
    }

    /// Deals with an event unless it has been, or something before it is missing: then it is not
    /// taken, and the answer is no.
    fn take(&mut self, event: &Value, at: Instant) -> bool {
        let params = &event["params"];
        let Some(seq) = params["seq"].as_u64() else { return true };
        if seq > self.seq + 1 {
            return false;
        }
        if seq <= self.seq {
            return true;
        }
        self.seq = seq;
        let what = match event["method"].as_str() {
            Some("message") if params["own"] == false => {
                params["text"].as_str().and_then(number_of).map(What::Heard)
            }
            Some("delivered") => {
                let id = params["id"].as_str().expect("an id");
                Some(What::Receipt(u64::from_str_radix(&id[16..], 16).expect("a number")))
            }
            _ => None,
        };
        // Who listens may be done.
        if let Some(what) = what {
            // Who counts may have seen enough.
            let _ = self.told.send(Told { what, at });
        }
        true
    }
}
