//! The same through a server: Prosody with a room (XEP-0045) that keeps its archive (XEP-0313) in SQLite, and
//! receipts (XEP-0184) sent to the speaker alone.
//!
//! Its members are threads of this program that do as little as they can: no TLS, no archive of their
//! own; a receipt means that the program of the other has it, not its disk.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::room::{Room, Told, What, number_of, text};

const PROGRAM: &str = "prosody";
const ROOM: &str = "team@rooms.localhost";
const NAMES: &str = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of stanzas written at once.
const WRITE_BYTES: usize = 16 * 1024;

/// A running server, and members.
pub(crate) struct Xmpp {
    told: Receiver<Told>,
    members: Vec<Arc<Mutex<TcpStream>>>,
    readers: Vec<JoinHandle<()>>,
    speakers: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    server: Child,
    _directory: TempDir,
}

impl Xmpp {
    /// Starts it on a host; to be called from a thread that is there.
    pub(crate) fn start(host: &str, count: usize) -> Option<Self> {
        if Command::new("which")
            .arg(PROGRAM)
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|it| !it.success())
        {
            println!("skipped: no {PROGRAM}; integration-tests/peers/install");
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        let config = path.join("prosody.cfg.lua");
        std::fs::write(&config, settings(path)).expect("room on the disk");
        prefer_wal(&path.join("archive"));
        let server = Command::new("ip")
            .args(["netns", "exec", host, PROGRAM, "-F", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let (sender, told) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut xmpp = Self {
            told,
            members: Vec::new(),
            readers: Vec::new(),
            speakers: Vec::new(),
            stop,
            server,
            _directory: directory,
        };
        for nick in 0..count {
            let stream = join(nick);
            let writer = Arc::new(Mutex::new(stream.try_clone().expect("a socket")));
            xmpp.members.push(Arc::clone(&writer));
            let member = Member { nick: format!("n{nick}"), stream, writer, told: sender.clone() };
            let stop = Arc::clone(&xmpp.stop);
            xmpp.readers.push(std::thread::spawn(move || member.read(&stop)));
        }
        Some(xmpp)
    }
}

impl Room for Xmpp {
    fn told(&self) -> &Receiver<Told> {
        &self.told
    }

    fn say(&mut self, member: usize, numbers: Vec<u64>) {
        let writer = Arc::clone(&self.members[member]);
        let write = move || {
            for numbers in numbers.chunks(WRITE_BYTES / 256) {
                let mut stanzas = String::new();
                for number in numbers {
                    let text = text(*number);
                    let _ = write!(
                        stanzas,
                        "<message to='{ROOM}' type='groupchat' id='{number}'><body>{text}</body>\
                         <request xmlns='urn:xmpp:receipts'/></message>"
                    );
                }
                send(&writer, &stanzas);
            }
        };
        self.speakers.push(std::thread::spawn(write));
    }

    fn pids(&self) -> Vec<u32> {
        vec![self.server.id()]
    }

    fn settle(&mut self) {
        self.speakers.drain(..).for_each(|speaker| speaker.join().expect("all is said"));
    }
}

impl Drop for Xmpp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.server.kill();
        let _ = self.server.wait();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
    }
}

fn send(writer: &Mutex<TcpStream>, stanzas: &str) {
    let mut writer = writer.lock().expect("nobody panics with it");
    // Whoever waits for what comes of it notices.
    let _ = writer.write_all(stanzas.as_bytes());
}

/// A member that is there.
struct Member {
    nick: String,
    stream: TcpStream,
    writer: Arc<Mutex<TcpStream>>,
    told: Sender<Told>,
}

impl Member {
    fn read(mut self, stop: &AtomicBool) {
        self.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("not zero");
        let (mut buffer, mut all) = (vec![0; 64 * 1024], String::new());
        while !stop.load(Ordering::Relaxed) {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(_) => return,
            };
            let at = Instant::now();
            // Nothing but ASCII is said here.
            all.push_str(&String::from_utf8_lossy(&buffer[..count]));
            let mut receipts = String::new();
            let mut used = 0;
            while let Some(end) = all[used..].find("</message>") {
                self.take(&all[used..used + end], at, &mut receipts);
                used += end + "</message>".len();
            }
            all.drain(..used);
            if !receipts.is_empty() {
                send(&self.writer, &receipts);
            }
        }
    }

    fn take(&self, stanza: &str, at: Instant, receipts: &mut String) {
        let told = |what| {
            // Who counts may have seen enough.
            let _ = self.told.send(Told { what, at });
        };
        let between = |begin: &str, end: char| {
            let rest = &stanza[stanza.find(begin)? + begin.len()..];
            rest.find(end).map(|end| &rest[..end])
        };
        let ends = |value: &str| value.ends_with(['\'', '"']);
        if let Some(received) = stanza.find("<received") {
            let id = stanza[received..].split("id=").nth(1).unwrap_or_default();
            let digits: String = id.chars().skip(1).take_while(char::is_ascii_digit).collect();
            digits.parse().into_iter().for_each(|number| told(What::Receipt(number)));
            return;
        }
        let from = between(&format!("{ROOM}/"), '\'').filter(|it| !ends(it));
        let (Some(from), Some(number)) = (from, between("<body>", '<').and_then(number_of)) else {
            return;
        };
        if from != self.nick {
            told(What::Heard(number));
            let _ = write!(
                receipts,
                "<message to='{ROOM}/{from}' type='chat'><received xmlns='urn:xmpp:receipts' \
                 id='{number}'/></message>"
            );
        }
    }
}

/// Comes in under no name, and enters the room.
fn join(nick: usize) -> TcpStream {
    let began = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", 5222)) {
            Ok(stream) => break stream,
            Err(error) => assert!(began.elapsed() < START_TIMEOUT, "no server: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    stream.set_nodelay(true).expect("TCP");
    stream.set_read_timeout(Some(START_TIMEOUT)).expect("not zero");
    let begin =
        format!("<?xml version='1.0'?><stream:stream to='localhost' {NAMES} version='1.0'>");
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>";
    let enter = format!(
        "<presence to='{ROOM}/n{nick}'><x xmlns='http://jabber.org/protocol/muc'><history \
         maxstanzas='0'/></x></presence>"
    );
    for (said, until) in [
        (&*begin, "</stream:features>"),
        (auth, "<success"),
        (&begin, "</stream:features>"),
        (bind, "</iq>"),
        // The room's subject is the last that a newcomer is sent.
        (&enter, "<subject"),
    ] {
        stream.write_all(said.as_bytes()).expect("a server");
        let (mut all, mut buffer) = (String::new(), [0; 4096]);
        while !all.contains(until) {
            let count = stream.read(&mut buffer).unwrap_or(0);
            assert!(count > 0, "to {said} it says {all}");
            all.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }
    stream
}

/// SQLite's faster journal, which stays with the file; each transaction is still synchronised.
fn prefer_wal(path: &Path) {
    let script =
        "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('pragma journal_mode=wal')";
    let made = Command::new("python3").args(["-c", script]).arg(path).status();
    assert!(made.is_ok_and(|it| it.success()), "Python with SQLite");
}

fn settings(directory: &Path) -> String {
    let (data, sql) = (directory.join("data"), directory.join("archive"));
    std::fs::create_dir(&data).expect("room on the disk");
    format!(
        "run_as_root = true\n\
         pidfile = \"{data}/pid\"\n\
         data_path = \"{data}\"\n\
         log = {{ error = \"{data}/log\" }}\n\
         interfaces = {{ \"127.0.0.1\" }}\n\
         c2s_ports = {{ 5222 }}\n\
         modules_enabled = {{ \"saslauth\" }}\n\
         modules_disabled = {{ \"s2s\", \"tls\", \"offline\" }}\n\
         c2s_require_encryption = false\n\
         authentication = \"anonymous\"\n\
         allow_anonymous_s2s = false\n\
         VirtualHost \"localhost\"\n\
         Component \"rooms.localhost\" \"muc\"\n\
         modules_enabled = {{ \"muc_mam\" }}\n\
         muc_room_locking = false\n\
         muc_log_by_default = true\n\
         muc_log_presences = false\n\
         archive_expires_after = \"never\"\n\
         storage = {{ muc_log = \"sql\" }}\n\
         sql = {{ driver = \"SQLite3\", database = \"{sql}\" }}\n",
        data = data.display(),
        sql = sql.display(),
    )
}
