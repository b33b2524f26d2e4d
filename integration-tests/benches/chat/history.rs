//! Profiles that have kept much, and what is on the disk of one.

use std::sync::Arc;

use actix::Actor as _;
use bitchat_actors::archive::{Append, Archive, OpenChannel, Retention};
use bitchat_actors::vault::Profile;
use bitchat_integration_tests::crowd::Crowd;
use bitchat_integration_tests::node::Home;
use bitchat_protocol::channel::ChatFile;
use rusqlite::{Connection, OpenFlags};

/// Entries of one transaction.
const BATCH: u64 = 1000;

/// Fills the archive of a home, whose node does not run, with what some authors said in a channel.
pub(crate) fn fill(home: &Home, file: &str, authors: usize, count: u64) {
    let file = std::fs::read(file).expect("the channel's file");
    let keys = Arc::new(ChatFile::from_bytes(&file).expect("a channel").keys());
    let profiles = home.data_dir();
    actix_rt::System::new().block_on(async {
        // Its own arbiter, so that it has closed its file when that has ended.
        let arbiter = actix_rt::Arbiter::new();
        let archive = Archive::start_in_arbiter(&arbiter.handle(), move |_| {
            let profile = Profile::open(&profiles, "default", None).expect("a profile");
            Archive::open(&profile).expect("an archive")
        });
        let opening = OpenChannel { keys: Arc::clone(&keys), retention: Retention::default() };
        archive.send(opening).await.expect("it runs").expect("a channel");
        let mut crowd = Crowd::new(keys, authors, false);
        for from in (0..count).step_by(BATCH as usize) {
            let batch = crowd.batch(BATCH.min(count - from));
            archive.send(Append(batch)).await.expect("it runs").expect("kept");
        }
        arbiter.stop();
        arbiter.join().expect("it ends");
    });
}

/// Counts what a node has on disk, from beside it.
pub(crate) struct Counter(Connection);

impl Counter {
    pub(crate) fn of(home: &Home) -> Self {
        let path = home.data_dir().join("default/archive");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        Self(Connection::open_with_flags(path, flags).expect("an archive"))
    }

    /// Entries that are on disk, where none was ever removed.
    pub(crate) fn entries(&self) -> u64 {
        let last =
            self.0.query_row("SELECT max(id) FROM entries", [], |row| row.get::<_, Option<i64>>(0));
        // It may be busy.
        last.ok().flatten().and_then(|last| last.try_into().ok()).unwrap_or(0)
    }
}
