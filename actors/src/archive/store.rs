//! The open archive: what of it is in memory, and how the two stay the same.
//!
//! Everything that changes the database goes through [`Store::write`]: one transaction, after which
//! what is held in memory is that of after it, or is read anew when the disk refused.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bitchat_protocol::channel::ChannelKeys;
use bitchat_protocol::crypto::Secret;
use bitchat_protocol::id::{ChainId, ChannelId, DeviceId, PeerId};
use bitchat_protocol::log::{
    Certificate, ChainState, ChannelState, Entry, EntryHash, ForkProof, Receipt, Role,
};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::ageing::Ageing;
use super::events::EventsKept;
use super::index::Index;
use super::schema::{self, COUNTER_MAX, Counter, Paths};
use super::seal::{Sealer, Table, Unsealable};
use super::{ArchiveError, EventSpan, Retention, forget, now_unix};
use crate::clock;

/// Clients whose place is kept.
const CLIENTS_MAX: usize = 256;
/// Bytes of a client's name.
const CLIENT_NAME_BYTES_MAX: usize = 64;
const CHANNEL_BYTES: usize = 32;

/// The open archive.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) db: Connection,
    pub(super) sealer: Sealer,
    pub(super) paths: Paths,
    pub(super) index: Index,
    pub(super) channels: HashMap<ChannelId, Channel>,
    pub(super) peers: Peers,
    pub(super) last_entry: i64,
    pub(super) last_event: i64,
    /// The last row of any other table, as rows of those that are gone are still spoken of.
    last_row: i64,
    pub(super) events_kept: EventsKept,
    /// By what time things grow old.
    pub(super) ageing: Ageing,
    /// Chains that are gone, and whose entries are still to go.
    pub(super) orphans: BTreeSet<i64>,
    /// Something was removed that must not stay in the file.
    pub(super) must_erase: bool,
    /// The index was too large, and is to be built anew.
    pub(super) index_is_anew: bool,
    clients: HashMap<String, Client>,
    /// What is in memory is not what is on disk: the disk refused to be read after it had refused to
    /// be written.
    stale: bool,
    unsealable: std::cell::Cell<u64>,
}

/// Peers by the numbers that they have in the database.
#[derive(Debug, Default)]
pub(super) struct Peers {
    pub(super) rows: HashMap<PeerId, i64>,
    pub(super) ids: HashMap<i64, PeerId>,
}

/// A channel that something is kept of.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) row: i64,
    /// Of which our own chain there is continued.
    pub(super) device: DeviceId,
    pub(super) open: Option<Open>,
}

/// What is in memory of a channel that is open: its chains, none of its entries.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) keys: Arc<ChannelKeys>,
    pub(super) retention: Retention,
    pub(super) chains: HashMap<ChainId, Chain>,
    pub(super) by_row: HashMap<i64, ChainId>,
}

#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) row: i64,
    pub(super) state: ChainState,
    pub(super) count: u64,
    pub(super) bytes: u64,
    /// The row on disk is not this yet.
    pub(super) changed: bool,
    /// Behind its head there are entries that can be read: it was mended, and has a hole.
    pub(super) has_loose: bool,
}

#[derive(Debug, Clone, Copy)]
struct Client {
    row: i64,
    seq: u64,
}

impl Store {
    /// Opens the archive, or makes an empty one.
    pub(super) fn open(paths: Paths, storage_key: &Secret<32>) -> Result<Self, ArchiveError> {
        let mut sealer = Sealer::new(storage_key);
        let db = schema::open(&paths, &mut sealer)?;
        let is_copy = schema::read_meta(&db, &paths.main, &sealer)?;
        let index = Index::new().map_err(ArchiveError::index("index", &paths.main))?;
        let mut store = Self {
            db,
            sealer,
            paths,
            index,
            channels: HashMap::new(),
            peers: Peers::default(),
            last_entry: 0,
            last_event: 0,
            last_row: 0,
            events_kept: EventsKept::default(),
            ageing: Ageing::new(None, now_unix(), clock::now()),
            orphans: BTreeSet::new(),
            must_erase: false,
            index_is_anew: false,
            clients: HashMap::new(),
            stale: false,
            unsealable: std::cell::Cell::new(0),
        };
        store.load()?;
        store.orphans = store.read(forget::orphans)?;
        store.must_erase = !store.orphans.is_empty();
        let newest = "SELECT stored FROM entries ORDER BY id DESC LIMIT 1";
        let newest = store.read(|db| db.query_row(newest, [], |row| row.get(0)).optional())?;
        store.ageing = Ageing::new(newest, now_unix(), clock::now());
        if is_copy {
            store.begin_anew()?;
        }
        Ok(store)
    }

    /// A copy's chains may go on elsewhere: begins chains of its own.
    fn begin_anew(&mut self) -> Result<(), ArchiveError> {
        self.write(|store| {
            let ids: Vec<_> = store.channels.keys().copied().collect();
            for id in ids {
                let device = DeviceId(store.sealer.draw());
                store.set_device(&id, device)?;
            }
            store.db.execute("UPDATE meta SET is_copy = 0", []).map(drop)
        })
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> ArchiveError + use<> {
        ArchiveError::sqlite(doing, &self.paths.main)
    }

    /// Does all of `work` or nothing of it.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, ArchiveError> {
        self.refresh()?;
        let outcome = self.db.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            let outcome = work(self)?;
            self.save_counters()?;
            self.db.execute_batch("COMMIT")?;
            Ok(outcome)
        });
        outcome.map_err(|error| {
            if !self.db.is_autocommit() {
                let _ = self.db.execute_batch("ROLLBACK");
            }
            self.stale = true;
            let error = self.failed("write to")(error);
            self.note(&error);
            error
        })
    }

    /// Reads anew what is in memory, after the disk had refused.
    pub(super) fn refresh(&mut self) -> Result<(), ArchiveError> {
        if self.stale {
            self.load()?;
            self.stale = false;
        }
        Ok(())
    }

    /// Runs a query; damage that it meets is mended at the next start.
    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ArchiveError> {
        query(&self.db).map_err(|error| {
            let error = self.failed("read")(error);
            self.note(&error);
            error
        })
    }

    fn note(&self, error: &ArchiveError) {
        if error.is_damage() {
            tracing::error!("{error}");
            self.paths.suspect_damage();
        }
    }

    /// Counts a row that does not open; it is skipped, and mended at the next start.
    pub(super) fn skip(&self, table: &str, row: i64) {
        let before = self.unsealable.replace(self.unsealable.get() + 1);
        if before == 0 {
            let path = self.paths.main.display();
            tracing::error!("{path} is damaged: row {row} of {table} does not open and is skipped");
            self.paths.suspect_damage();
        } else {
            tracing::debug!(table, row, "one more row does not open");
        }
    }

    fn damaged(&self, why: impl Into<String>) -> ArchiveError {
        let error = ArchiveError::Damaged { path: self.paths.main.clone(), why: why.into() };
        self.note(&error);
        error
    }

    fn load(&mut self) -> Result<(), ArchiveError> {
        let last_entry = self.load_counter(Counter::Entry, &["SELECT max(id) FROM entries"])?;
        let last_event = self.load_counter(Counter::Event, &["SELECT max(seq) FROM events"])?;
        let tables = ["peers", "channels", "chains", "clients"];
        let rows = tables.map(|table| format!("SELECT max(id) FROM {table}"));
        let last_row = self.load_counter(Counter::Row, &rows.each_ref().map(String::as_str))?;
        let events_kept = self.read(EventsKept::count)?;
        let peers = self.load_peers()?;
        let clients = self.load_clients()?;
        let channels = self.load_channels()?;
        (self.last_entry, self.last_event, self.last_row) = (last_entry, last_event, last_row);
        (self.events_kept, self.peers, self.clients) = (events_kept, peers, clients);
        self.channels = channels;
        Ok(())
    }

    /// A counter that is behind what it counts, or beyond all that can be counted, is damaged.
    fn load_counter(&self, counter: Counter, counted: &[&str]) -> Result<i64, ArchiveError> {
        let value: i64 = self.read(|db| {
            let query = "SELECT value FROM counters WHERE name = ?";
            db.query_row(query, [counter as i64], |row| row.get(0))
        })?;
        for query in counted {
            let greatest: Option<i64> =
                self.read(|db| db.query_row(query, [], |row| row.get(0)))?;
            if !(greatest.unwrap_or(0)..=COUNTER_MAX).contains(&value) {
                return Err(self.damaged(format!("its counter {} is {value}", counter as i64)));
            }
        }
        Ok(value)
    }

    fn save_counters(&self) -> rusqlite::Result<()> {
        let mut save = self.db.prepare_cached("UPDATE counters SET value = ? WHERE name = ?")?;
        for (counter, value) in [
            (Counter::Entry, self.last_entry),
            (Counter::Event, self.last_event),
            (Counter::Row, self.last_row),
        ] {
            save.execute(params![value, counter as i64])?;
        }
        Ok(())
    }

    fn load_peers(&self) -> Result<Peers, ArchiveError> {
        let rows = self.sealed_rows("SELECT id, sealed FROM peers")?;
        let mut peers = Peers::default();
        for (row, sealed) in rows {
            let plain = self.sealer.open(Table::Peers, &[row], &sealed);
            let id = plain.ok().and_then(|plain| <[u8; 32]>::try_from(plain.as_slice()).ok());
            let Some(id) = id.map(PeerId) else {
                self.skip("peers", row);
                continue;
            };
            peers.rows.insert(id, row);
            peers.ids.insert(row, id);
        }
        Ok(peers)
    }

    /// The number of a peer, which it is given when it has none.
    pub(super) fn peer_row(&mut self, peer: &PeerId) -> rusqlite::Result<i64> {
        if let Some(row) = self.peers.rows.get(peer) {
            return Ok(*row);
        }
        let row = self.next_row();
        let sealed = self.sealer.seal(Table::Peers, &[row], &peer.0);
        self.db.execute("INSERT INTO peers VALUES (?, ?)", params![row, sealed])?;
        self.peers.rows.insert(*peer, row);
        self.peers.ids.insert(row, *peer);
        Ok(row)
    }

    /// A row number that no row has had, of whatever table: what still speaks of one that is gone
    /// must not come to speak of another.
    const fn next_row(&mut self) -> i64 {
        self.last_row += 1;
        self.last_row
    }

    fn sealed_rows(&self, query: &str) -> Result<Vec<(i64, Vec<u8>)>, ArchiveError> {
        self.read(|db| {
            let mut query = db.prepare(query)?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    fn load_channels(&self) -> Result<HashMap<ChannelId, Channel>, ArchiveError> {
        let rows = self.sealed_rows("SELECT id, sealed FROM channels")?;
        let mut channels = HashMap::new();
        for (row, sealed) in rows {
            let Ok((id, device)) = open_channel_row(&self.sealer, row, &sealed) else {
                self.skip("channels", row);
                continue;
            };
            let open = match self.channels.get(&id).and_then(|channel| channel.open.as_ref()) {
                Some(open) => Some(self.load_open(row, Arc::clone(&open.keys), open.retention)?),
                None => None,
            };
            channels.insert(id, Channel { row, device, open });
        }
        Ok(channels)
    }

    /// Opens a channel: its chains come into memory, and its messages can be read.
    pub(super) fn open_channel(
        &mut self,
        keys: Arc<ChannelKeys>,
        retention: Retention,
    ) -> Result<ChannelState, ArchiveError> {
        self.refresh()?;
        let id = keys.id();
        let row = match self.channels.get(&id) {
            Some(channel) => channel.row,
            None => self.write(|store| store.insert_channel(id))?,
        };
        let is_member = keys.is_member();
        let open = self.load_open(row, keys, retention)?;
        let state = self.state(row, &open, &id)?;
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.open = Some(open);
        }
        if is_member {
            self.index.add_channel(row).map_err(ArchiveError::index("index", &self.paths.main))?;
        }
        Ok(state)
    }

    /// The channels that are open.
    pub(super) fn open_channels(&self) -> Vec<ChannelId> {
        let open = self.channels.iter().filter(|(_, channel)| channel.open.is_some());
        open.map(|(id, _)| *id).collect()
    }

    /// Takes a channel's keys and its words out of memory.
    pub(super) fn close_channel(&mut self, id: &ChannelId) -> Result<(), ArchiveError> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        channel.open = None;
        self.index
            .remove_channel(channel.row)
            .map_err(ArchiveError::index("index", &self.paths.main))
    }

    fn insert_channel(&mut self, id: ChannelId) -> rusqlite::Result<i64> {
        let row = self.next_row();
        let device = DeviceId(self.sealer.draw());
        let sealed = seal_channel_row(&mut self.sealer, row, &id, device);
        self.db.execute("INSERT INTO channels VALUES (?, ?)", params![row, sealed])?;
        self.channels.insert(id, Channel { row, device, open: None });
        Ok(row)
    }

    /// Keeps of which device our chain in a channel is continued.
    pub(super) fn set_device(&mut self, id: &ChannelId, device: DeviceId) -> rusqlite::Result<()> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        if channel.device != device {
            let sealed = seal_channel_row(&mut self.sealer, channel.row, id, device);
            let update = "UPDATE channels SET sealed = ? WHERE id = ?";
            self.db.execute(update, params![sealed, channel.row])?;
            channel.device = device;
        }
        Ok(())
    }

    fn load_open(
        &self,
        channel: i64,
        keys: Arc<ChannelKeys>,
        retention: Retention,
    ) -> Result<Open, ArchiveError> {
        let rows = self.read(|db| {
            let query = format!("SELECT {} FROM chains WHERE channel = ?", ChainRow::COLUMNS);
            let mut query = db.prepare_cached(&query)?;
            query.query_map([channel], ChainRow::read)?.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let mut open = Open { keys, retention, chains: HashMap::new(), by_row: HashMap::new() };
        for row in rows {
            let id = row.id;
            let mut chain = row
                .open(&self.sealer)
                .map_err(|Unsealable| self.damaged(format!("row {id} of chains does not open")))?;
            chain.has_loose = self.read(|db| {
                let query = "SELECT 1 FROM entries WHERE chain = ? AND number > ?";
                db.prepare_cached(query)?.exists([chain.row, signed(chain.state.head)])
            })?;
            let chain_id = chain.state.certificate.chain(&open.keys.id());
            open.by_row.insert(chain.row, chain_id);
            open.chains.insert(chain_id, chain);
        }
        self.load_forks(channel, &mut open)?;
        Ok(open)
    }

    fn load_forks(&self, channel: i64, open: &mut Open) -> Result<(), ArchiveError> {
        let rows: Vec<(i64, i64, Vec<u8>)> = self.read(|db| {
            let query = "SELECT f.chain, f.number, f.sealed FROM chains c
                 JOIN forks f ON f.chain = c.id WHERE c.channel = ?";
            let mut query = db.prepare_cached(query)?;
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            query.query_map([channel], read)?.collect()
        })?;
        for (row, number, sealed) in rows {
            let Some(chain_id) = open.by_row.get(&row) else { continue };
            let plain = self.sealer.open(Table::Forks, &[row, number], &sealed).ok();
            let channel = open.keys.id();
            let fork =
                plain.and_then(|plain| read_fork(&channel, *chain_id, unsigned(number), &plain));
            match open.chains.get_mut(chain_id) {
                Some(chain) if fork.is_some() => chain.state.forked = fork,
                Some(_) | None => self.skip("forks", row),
            }
        }
        Ok(())
    }

    fn state(&self, row: i64, open: &Open, id: &ChannelId) -> Result<ChannelState, ArchiveError> {
        let rows: Vec<(i64, i64, i64, i64)> = self.read(|db| {
            let query = "SELECT r.chain, r.peer, r.number, r.role FROM chains c
                 JOIN receipts r ON r.chain = c.id WHERE c.channel = ?";
            let mut query = db.prepare_cached(query)?;
            let read =
                |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            query.query_map([row], read)?.collect()
        })?;
        let receipt = |(chain, peer, number, role): (i64, i64, i64, i64)| {
            let by = *self.peers.ids.get(&peer)?;
            let chain = *open.by_row.get(&chain)?;
            Some(Receipt { chain, number: unsigned(number), by, role: role_from(role) })
        };
        let channel = self.channels.get(id).ok_or(ArchiveError::NotOpen(*id))?;
        Ok(ChannelState {
            device: channel.device,
            chains: open.chains.values().map(|chain| chain.state.clone()).collect(),
            receipts: rows.into_iter().filter_map(receipt).collect(),
        })
    }

    /// Writes what has changed of the chains of a channel.
    pub(super) fn save_chains(&mut self, id: &ChannelId) -> rusqlite::Result<()> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let Some(open) = &mut channel.open else { return Ok(()) };
        for chain in open.chains.values_mut().filter(|chain| chain.changed) {
            let state = &chain.state;
            let clear = head_clear(channel.row, chain);
            let sealed = self.sealer.seal(Table::ChainHeads, &clear, &state.head_hash.0);
            let update =
                "UPDATE chains SET base = ?, head = ?, head_clock = ?, count = ?, bytes = ?,
                 sealed = ? WHERE id = ?";
            self.db.prepare_cached(update)?.execute(params![
                signed(state.base),
                signed(state.head),
                signed(state.head_clock),
                signed(chain.count),
                signed(chain.bytes),
                sealed,
                chain.row
            ])?;
            chain.changed = false;
        }
        Ok(())
    }

    /// Adds a chain without entries; its head is written by [`Self::save_chains`].
    pub(super) fn insert_chain(
        &mut self,
        id: &ChannelId,
        certificate: Certificate,
    ) -> rusqlite::Result<()> {
        let row = self.next_row();
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        let Some(open) = &mut channel.open else { return Ok(()) };
        let sealed = self.sealer.seal(Table::Chains, &[row, channel.row], &certificate.encode());
        let insert = "INSERT INTO chains (id, channel, base, head, head_clock, count, bytes,
             certificate, sealed) VALUES (?, ?, 0, 0, 0, 0, 0, ?, x'')";
        self.db.prepare_cached(insert)?.execute(params![row, channel.row, sealed])?;
        let chain_id = certificate.chain(id);
        let state = ChainState {
            certificate,
            base: 0,
            head: 0,
            head_hash: EntryHash([0; 32]),
            head_clock: 0,
            forked: None,
        };
        open.by_row.insert(row, chain_id);
        open.chains.insert(
            chain_id,
            Chain { row, state, count: 0, bytes: 0, changed: true, has_loose: false },
        );
        Ok(())
    }

    fn load_clients(&self) -> Result<HashMap<String, Client>, ArchiveError> {
        let rows: Vec<(i64, i64, Vec<u8>)> = self.read(|db| {
            let mut query = db.prepare("SELECT id, seq, sealed FROM clients")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })?;
        let mut clients = HashMap::new();
        for (row, seq, sealed) in rows {
            let plain = self.sealer.open(Table::Clients, &[row, seq], &sealed);
            match plain.ok().and_then(|plain| String::from_utf8(plain.to_vec()).ok()) {
                Some(name) => {
                    clients.insert(name, Client { row, seq: unsigned(seq) });
                }
                None => self.skip("clients", row),
            }
        }
        Ok(clients)
    }

    /// Which events are kept.
    pub(super) fn event_span(&self) -> Result<EventSpan, ArchiveError> {
        let last = unsigned(self.last_event);
        let oldest: Option<i64> =
            self.read(|db| db.query_row("SELECT min(seq) FROM events", [], |row| row.get(0)))?;
        Ok(EventSpan { oldest: oldest.map_or(last + 1, unsigned), last })
    }

    /// Up to where a client has said that it has what happened.
    pub(super) fn acknowledged(&self, client: &str) -> Option<u64> {
        self.clients.get(client).map(|client| client.seq)
    }

    /// Looks whether a client may be kept, without changing anything.
    pub(super) fn check_client(&self, name: &str) -> Result<(), ArchiveError> {
        if !(1..=CLIENT_NAME_BYTES_MAX).contains(&name.len()) {
            return Err(ArchiveError::Client("a client's name has 1 to 64 bytes"));
        }
        if !self.clients.contains_key(name) && self.clients.len() >= CLIENTS_MAX {
            return Err(ArchiveError::Client("256 clients are known, which is all that can be"));
        }
        Ok(())
    }

    /// Keeps that a client has all up to `seq`; a client never goes back.
    pub(super) fn acknowledge(&mut self, name: &str, seq: u64) -> rusqlite::Result<()> {
        let seq = seq.min(unsigned(self.last_event));
        match self.clients.get_mut(name) {
            Some(client) if client.seq >= seq => {}
            Some(client) => {
                let clear = [client.row, signed(seq)];
                let sealed = self.sealer.seal(Table::Clients, &clear, name.as_bytes());
                let update = "UPDATE clients SET seq = ?, sealed = ? WHERE id = ?";
                self.db.prepare_cached(update)?.execute(params![
                    signed(seq),
                    sealed,
                    client.row
                ])?;
                client.seq = seq;
            }
            None => {
                let row = self.next_row();
                let clear = [row, signed(seq)];
                let sealed = self.sealer.seal(Table::Clients, &clear, name.as_bytes());
                let insert = "INSERT INTO clients VALUES (?, ?, ?)";
                self.db.execute(insert, params![row, signed(seq), sealed])?;
                self.clients.insert(name.to_owned(), Client { row, seq });
            }
        }
        Ok(())
    }

    /// Copies the whole archive, consistent and without gaps, to a file that is not there yet. The
    /// copy begins chains of its own when it is opened.
    pub(super) fn copy_to(&mut self, path: &std::path::Path) -> Result<(), ArchiveError> {
        schema::copy(&self.db, path)
    }
}

/// A row of `chains`.
#[derive(Debug, Clone)]
pub(super) struct ChainRow {
    pub(super) id: i64,
    pub(super) channel: i64,
    pub(super) base: i64,
    head: i64,
    head_clock: i64,
    count: i64,
    bytes: i64,
    pub(super) certificate: Vec<u8>,
    sealed: Vec<u8>,
}

impl ChainRow {
    pub(super) const COLUMNS: &str =
        "id, channel, base, head, head_clock, count, bytes, certificate, sealed";

    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            channel: row.get(1)?,
            base: row.get(2)?,
            head: row.get(3)?,
            head_clock: row.get(4)?,
            count: row.get(5)?,
            bytes: row.get(6)?,
            certificate: row.get(7)?,
            sealed: row.get(8)?,
        })
    }

    /// Who may write the chain: what never changes of it.
    pub(super) fn open_certificate(&self, sealer: &Sealer) -> Result<Certificate, Unsealable> {
        let plain = sealer.open(Table::Chains, &[self.id, self.channel], &self.certificate)?;
        Certificate::decode(&plain).map_err(|_| Unsealable)
    }

    /// The whole chain.
    pub(super) fn open(self, sealer: &Sealer) -> Result<Chain, Unsealable> {
        let state = ChainState {
            certificate: self.open_certificate(sealer)?,
            base: unsigned(self.base),
            head: unsigned(self.head),
            head_hash: EntryHash([0; 32]),
            head_clock: unsigned(self.head_clock),
            forked: None,
        };
        let (count, bytes) = (unsigned(self.count), unsigned(self.bytes));
        let mut chain =
            Chain { row: self.id, state, count, bytes, changed: false, has_loose: false };
        let hash =
            sealer.open(Table::ChainHeads, &head_clear(self.channel, &chain), &self.sealed)?;
        chain.state.head_hash = EntryHash(hash.as_slice().try_into().map_err(|_| Unsealable)?);
        Ok(chain)
    }
}

/// What stands in clear beside the hash of a chain's head.
pub(super) fn head_clear(channel: i64, chain: &Chain) -> [i64; 7] {
    let Chain { row, state, count, bytes, .. } = chain;
    let numbers = [state.base, state.head, state.head_clock, *count, *bytes].map(signed);
    let [base, head, head_clock, count, bytes] = numbers;
    [*row, channel, base, head, head_clock, count, bytes]
}

/// The channel of a row of `channels`, and the device of our chain there.
pub(super) fn open_channel_row(
    sealer: &Sealer,
    row: i64,
    sealed: &[u8],
) -> Result<(ChannelId, DeviceId), Unsealable> {
    let plain = sealer.open(Table::Channels, &[row], sealed)?;
    let (id, device) = plain.split_first_chunk::<CHANNEL_BYTES>().ok_or(Unsealable)?;
    Ok((ChannelId(*id), DeviceId(device.try_into().map_err(|_| Unsealable)?)))
}

pub(super) fn seal_channel_row(
    sealer: &mut Sealer,
    row: i64,
    id: &ChannelId,
    device: DeviceId,
) -> Vec<u8> {
    sealer.seal(Table::Channels, &[row], &[&id.0[..], &device.0].concat())
}

/// Both entries of a proof, the first one's length before them.
pub(super) fn write_fork(fork: &ForkProof) -> Vec<u8> {
    let first_bytes = u32::try_from(fork.first.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&first_bytes[..], &fork.first, &fork.second].concat()
}

/// `None`: it is no proof, or not one that this chain forked.
fn read_fork(channel: &ChannelId, chain: ChainId, number: u64, plain: &[u8]) -> Option<ForkProof> {
    let (first_bytes, both) = plain.split_first_chunk()?;
    let first_bytes = usize::try_from(u32::from_be_bytes(*first_bytes)).ok()?;
    let (first, second) = both.split_at_checked(first_bytes)?;
    let [first, second] = [first, second].map(Bytes::copy_from_slice);
    let is_of_it = |bytes: &Bytes| {
        let entry = Entry::decode(channel, bytes.clone()).ok()?;
        Some(entry.head.chain == chain && entry.head.number == number)
    };
    let is_proof = is_of_it(&first)? && is_of_it(&second)?;
    is_proof.then_some(ForkProof { chain, number, first, second })
}

/// As the database has it. What is beyond an `i64` is no number that a chain can have, and the one
/// clock of 2^63 keeps its place at the end.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) const fn role_code(role: Role) -> i64 {
    match role {
        Role::Member => 0,
        Role::Seeder => 1,
    }
}

pub(super) const fn role_from(code: i64) -> Role {
    if code == 0 { Role::Member } else { Role::Seeder }
}
