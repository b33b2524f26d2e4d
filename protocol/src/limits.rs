//! Every bound on what a stranger or a peer can make a node hold or do, with the attack it stops.
//!
//! Bounds fixed by a specification stand beside their codec; tunables stand in the `Config` of
//! their user.

use std::time::Duration;

/// Bytes of a display name in UTF-8. Stops names that flood a terminal.
pub const NAME_BYTES_MAX: usize = 64;

/// Bytes of one chat message in UTF-8. Stops one peer from filling everybody's memory with a line.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Bytes of one frame on the control stream, its length prefix excluded. Stops a length prefix
/// from allocating more than a message can need.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Nesting accepted by the MessagePack decoder. Stops a bomb that overflows the stack.
pub const FRAME_DEPTH_MAX: usize = 16;

/// Bytes of a `.chat` file. Stops a hostile file from filling memory.
pub const CHAT_FILE_BYTES_MAX: usize = 256 * 1024;

/// Trackers, and tiers of them, in a `.chat` file. Stops one file from making every reader of it
/// load a multitude of hosts.
pub const CHAT_TRACKERS_MAX: usize = 64;

/// DHT nodes in a `.chat` file. Stops the same through name look-ups and datagrams.
pub const CHAT_NODES_MAX: usize = 64;

/// Nesting accepted by the bencode decoder. Stops a bomb that overflows the stack.
pub const BENCODE_DEPTH_MAX: usize = 32;

/// Values in one bencoded input. Stops a list of empty strings from taking sixteen times its size.
pub const BENCODE_ITEMS_MAX: usize = 64 * 1024;

/// Parameters of a `bitchat:` link or card. Stops a line of separators from taking forty times its
/// size.
pub const LINK_PARAMETERS_MAX: usize = 256;

/// Channels one node is in at once. Bounds the work of the channel gate per bogus first packet.
pub const CHANNELS_MAX: usize = 256;

/// Contacts whose pair channel is open. More would leave no room for channels, and look for hundreds
/// of people at trackers.
pub const PAIRS_MAX: usize = CHANNELS_MAX / 2;

/// Tickets that one peer shows for a channel, from the founder's to its own. More would make us check
/// more signatures for a stranger who holds the channel's key.
pub const TICKETS_MAX: usize = 4;

/// People that can be removed from a closed channel, with those that took its place. All of them
/// stand in each move.
pub const REMOVED_MAX: usize = 256;

/// Moves of one channel that a peer may tell of on one link. Each costs a signature check; an honest
/// one tells a second time when it can hand on a better key.
pub const MOVES_TOLD_MAX: usize = 8;

/// Words about why somebody is not let into a channel. They are shown to a person.
pub const REFUSAL_BYTES_MAX: usize = 512;

/// Who does not let us into one channel, as `status` has it. Stops whoever holds the channel's key from
/// filling memory under many names.
pub const REFUSALS_PER_CHANNEL_MAX: usize = 16;

/// Times that one peer may show its tickets for one channel on one link. Each may cost
/// [`TICKETS_MAX`] signature checks.
pub const TICKETS_SHOWN_MAX: usize = 64;

/// Proofs in a hello: two for each channel, and some that prove nothing. More would make us hold a stranger's list without end.
pub const PROOFS_MAX: usize = 2 * CHANNELS_MAX;

/// Members of one channel that a node keeps links with; the design aims at 2 to 50.
pub const MEMBERS_MAX: usize = 128;

/// Links a node holds at once, half-open ones included. Stops a member from exhausting memory by
/// dialling for ever.
pub const LINKS_MAX: usize = 1024;

/// Links that are left for our own dials. Stops a member who dials us for ever from keeping us from
/// those whom we look for.
pub const LINKS_FOR_DIALS: usize = 64;

/// Links with one peer on which it has proven its key and is not admitted yet. Stops it from holding all
/// of them by never saying who it is in the channels.
pub const OPENING_LINKS_PER_PEER_MAX: usize = 4;

/// How far a sender's clock may be from ours, in each direction, for its first packets to be let in:
/// so far at least, and up to twice as far where a minute ends between. Bounds for how long a
/// recorded first packet can be replayed, and so how long it is remembered.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// Bytes of a tracker's address. Stops a hostile `.chat` file from making endless requests.
pub const TRACKER_URL_BYTES_MAX: usize = 2048;

/// Trackers of one channel. Stops a hostile `.chat` file from making a node announce to everybody.
pub const TRACKERS_PER_CHANNEL_MAX: usize = 32;

/// Announces under way at once, over all channels. Bounds sockets and buffers; others wait.
pub const ANNOUNCES_MAX: usize = 64;

/// Bytes of an HTTP tracker's response head. Stops an endless header.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes of an HTTP tracker's body, before and after decompression. Stops endless bodies and
/// decompression bombs; libtorrent's bound too.
pub const HTTP_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Addresses kept of one tracker's answer. Stops a list of ten thousand from becoming as many dials.
pub const TRACKER_PEERS_MAX: usize = 500;

/// Ports kept per IP address in one tracker's answer, unless it is a loopback address. Stops a
/// tracker from aiming every member's dials at one victim; still leaves room for a household.
pub const TRACKER_PORTS_PER_IP_MAX: usize = 4;

/// Bytes of a tracker's `tracker id`, which is repeated in every later request.
pub const TRACKER_ID_BYTES_MAX: usize = 256;

/// Bytes of a tracker's message that are kept, to be shown.
pub const TRACKER_MESSAGE_BYTES_MAX: usize = 200;

/// IP addresses kept of one name. Stops a name with a thousand addresses from filling memory.
pub const RESOLVED_ADDRESSES_MAX: usize = 16;

/// Longest pause that a tracker can impose. Stops an interval of centuries from silencing a channel.
pub const TRACKER_INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const _: () = assert!(MESSAGE_BYTES_MAX + 1024 <= FRAME_BYTES_MAX, "a message must fit a frame");
const _: () = assert!(MEMBERS_MAX <= LINKS_MAX, "every member must be linkable");

/// Addresses told for one member. Stops a member from aiming everybody's dials at a victim.
pub const PEER_ADDRESSES_MAX: usize = 4;

/// Receipts in one frame.
pub const RECEIPTS_PER_FRAME_MAX: usize = 256;

/// Messages of ours that somebody is still owed. Bounds what a peer that never acknowledges makes
/// us hold.
pub const OUTBOX_MESSAGES_MAX: usize = 1024;

/// Bytes of their texts.
pub const OUTBOX_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of texts on their way to one peer without a receipt. Stops a peer that reads nothing from
/// filling its link's queue.
pub const CHAT_WINDOW_BYTES: usize = 256 * 1024;

/// Message ids remembered per author, to tell a repetition.
pub const IDS_REMEMBERED_MAX: usize = 4096;

/// Authors whose ids are remembered. Stops a member with many identities.
pub const AUTHORS_REMEMBERED_MAX: usize = 256;
/// Members named in one `Peers` frame, added and removed counted apart. Stops one frame from
/// costing more work than a whole channel is worth.
pub const PEER_RECORDS_PER_FRAME_MAX: usize = MEMBERS_MAX;

const _: () =
    assert!(PEER_RECORDS_PER_FRAME_MAX * 256 <= FRAME_BYTES_MAX, "records must fit a frame");

/// Frames, and their bytes, held while the contact book judges a peer. Stops a peer that is about
/// to be refused from filling memory.
pub const FRAMES_HELD_MAX: usize = 256;
/// See [`FRAMES_HELD_MAX`].
pub const FRAMES_HELD_BYTES_MAX: usize = 1024 * 1024;

/// Between two new names of one peer that are judged; of those that come meanwhile only the newest
/// is kept. Stops a member from having the contact book searched and written without end.
pub const RENAME_INTERVAL_MIN: Duration = Duration::from_secs(30);

/// Changes of its channels that a peer may make on one link at once, and how often one more: each is
/// compared with all of ours, and those who talk with it are told. Stops a peer that does nothing else.
pub const CHANNEL_CHANGES_AT_ONCE_MAX: u32 = 32;
/// See [`CHANNEL_CHANGES_AT_ONCE_MAX`].
pub const CHANNEL_CHANGES_EVERY: Duration = Duration::from_secs(1);

/// Renewals of a link's keys that may wait for an answer. Stops a peer from making us compute key
/// shares without end.
pub const RENEW_OFFERS_OPEN_MAX: usize = 3;

/// Bytes of frames that wait for a peer to take them. Stops a peer that reads nothing from filling
/// memory; above what the chat's window and the mesh may have on their way.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(CHAT_WINDOW_BYTES + 2 * MESSAGE_BYTES_MAX < CONTROL_QUEUE_BYTES_MAX);

/// First packets remembered against replay, for two to three minutes each. Reached only by members,
/// as only authenticated packets are remembered.
pub const FIRST_PACKETS_REMEMBERED_MAX: usize = 16 * 1024;

/// Hashes spent on finding out by how much a member's clock differs from ours; with one channel they
/// reach a day and ten hours to either side. Together with the next, stops strangers from buying our
/// time with packets that fit no channel.
pub const CLOCK_SEARCH_HASHES_MAX: usize = 4096;

/// Between two such searches.
pub const CLOCK_SEARCH_EVERY: Duration = Duration::from_secs(30);

/// Links that a peer opened and whose handshake is not done. Bounds what a member who never
/// finishes a handshake makes us hold.
pub const HALF_OPEN_LINKS_MAX: usize = 128;

/// From a link's beginning to the end of its handshake. Stops whoever holds a channel's key from
/// keeping half-open links, of theirs or of ours, by a packet now and then; leaves time for six
/// repetitions of a lost packet.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// Streams beside the control stream that a peer may have open. Stops one peer from holding
/// buffers without end.
pub const STREAMS_MAX: u32 = 32;

const _: () = assert!(DIALS_MAX + HALF_OPEN_LINKS_MAX <= LINKS_MAX - LINKS_FOR_DIALS);
const _: () = assert!(DIALS_MAX <= LINKS_FOR_DIALS, "each dial must find room");

/// Bytes of one flight of the handshake. Stops a length prefix from allocating more than a flight
/// can need.
pub const FLIGHT_BYTES_MAX: usize = 4096;
/// Addresses remembered for one channel. Stops trackers and members from filling memory.
pub const CANDIDATES_MAX: usize = 2048;

/// Addresses remembered from one tracker or one member. Stops one of them from crowding out the
/// others, and bounds who is remembered to have told of an address: each source has its share.
pub const CANDIDATES_PER_SOURCE_MAX: usize = MEMBERS_MAX * PEER_ADDRESSES_MAX;

/// Ports of one IP address at which nobody was met, in dial or failed, on the word of one source in one
/// channel: beyond it no further port is tried there. Stops a member or a tracker from aiming every
/// member's dials at one victim; leaves room for many nodes behind one NAT, as those that are met do not
/// count. Of a loopback address there is no bound: it is ourselves.
pub const PORTS_TRIED_PER_IP_MAX: usize = 16;

/// Dials in flight at once in a node, in one channel, and on the word of one source. Stops false
/// addresses from making a node flood the network, and from holding all its dials.
pub const DIALS_MAX: usize = 16;
/// See [`DIALS_MAX`].
pub const DIALS_PER_CHANNEL_MAX: usize = 8;
/// See [`DIALS_MAX`].
pub const DIALS_PER_SOURCE_MAX: usize = 6;
/// Dials in flight to neighbours on the local network that go before all others, in one channel. Stops
/// one neighbour with many false addresses from making all other sources wait.
pub const DIALS_NEAR_FIRST_MAX: usize = 2;
/// Dials in flight towards one peer at several addresses.
pub const DIALS_PER_PEER_MAX: usize = 2;

/// Addresses saved for the next run.
pub const LAST_KNOWN_MAX: usize = 64;

/// Those of one peer among them. Stops a member that links from ever new ports from being all that
/// the next run knows.
pub const LAST_KNOWN_PER_PEER_MAX: usize = 2;

const _: () =
    assert!(CANDIDATES_PER_SOURCE_MAX < CANDIDATES_MAX, "one source must not own the table");
const _: () = assert!(PORTS_TRIED_PER_IP_MAX < CANDIDATES_PER_SOURCE_MAX);
const _: () = assert!(TRACKER_PORTS_PER_IP_MAX <= PORTS_TRIED_PER_IP_MAX);
const _: () =
    assert!(DIALS_PER_SOURCE_MAX < DIALS_PER_CHANNEL_MAX, "a dial is left for the others");
/// Contacts in the book, those only seen included. Stops a member who makes up identities from
/// filling the disk: beyond it the one seen longest ago makes room, never one a person added.
pub const CONTACTS_MAX: usize = 4096;

/// Bytes of a DHT datagram that are read. Stops lists of thousands before they are decoded; what is
/// longer than a packet of the internet is no answer to us anyway.
pub const DHT_DATAGRAM_BYTES_MAX: usize = 4096;

/// Bytes of a transaction id, which we repeat in our answer.
pub const DHT_TRANSACTION_BYTES_MAX: usize = 256;

/// Bytes of a write token, which we keep until the look-up ends and repeat in our announce.
pub const DHT_TOKEN_BYTES_MAX: usize = 128;

/// Nodes taken from one answer, for each IP version. Stops one node from filling a look-up; the
/// specification has 8.
pub const DHT_NODES_PER_ANSWER_MAX: usize = 16;

/// Peers taken from one answer. Stops a flood of false peers; libtorrent gives no more.
pub const DHT_PEERS_PER_ANSWER_MAX: usize = 100;

/// Infohashes stored for others. Stops an announcer of made-up infohashes; libtorrent's bound too.
pub const DHT_STORED_HASHES_MAX: usize = 2000;

/// Peers stored for one infohash; libtorrent's bound too.
pub const DHT_STORED_PEERS_MAX: usize = 500;

/// Neighbourhoods whose word about our own address is remembered.
pub const DHT_VOICES_MAX: usize = 64;

/// Nodes of one /24 of IPv4 or /64 of IPv6 in the routing table. Stops whoever owns a network from
/// owning the table.
pub const DHT_TABLE_NODES_PER_NETWORK_MAX: usize = 3;

/// Nodes in reserve for each bucket of the routing table.
pub const DHT_RESERVE_NODES_MAX: usize = 8;

/// Questions of ours under way, for each IP version. Bounds what false nodes can make us send.
pub const DHT_QUERIES_IN_FLIGHT_MAX: usize = 256;

/// Look-ups under way, for each IP version; others wait.
pub const DHT_LOOKUPS_MAX: usize = 8;

/// Candidates of one look-up, those with secure ids and the others counted apart. Stops endless lists
/// of false nodes.
pub const DHT_LOOKUP_CANDIDATES_MAX: usize = 100;

/// Candidates of one look-up that others have named in one /24 of IPv4 or /64 of IPv6. Stops nodes
/// from aiming our questions at a victim; there is one for each IP address anyway.
pub const DHT_LOOKUP_NODES_PER_NETWORK_MAX: usize = 2;

/// Questions of one look-up. Stops nodes that always know of somebody nearer.
pub const DHT_LOOKUP_QUERIES_MAX: usize = 128;

/// Of them, those to nodes whose ids anybody could claim, while there are others to ask.
pub const DHT_LOOKUP_INSECURE_QUERIES_MAX: usize = 48;

/// Candidates of one look-up that are being asked at once, when many are slow.
pub const DHT_LOOKUP_BRANCHES_MAX: usize = 16;

/// Peers of one look-up that are remembered, to pass on each once. Beyond it they are passed on as
/// they come, so that who floods us silences nobody.
pub const DHT_PEERS_REMEMBERED_MAX: usize = 1024;

/// Askers whose questions are counted. Stops made-up source addresses from filling memory.
pub const DHT_ASKERS_MAX: usize = 1024;

/// Questions per second of one asker that are answered. More, and it is ignored for five minutes.
pub const DHT_QUESTIONS_PER_SECOND_MAX: u32 = 5;

/// Bytes per second of all answers together. Stops us from being an amplifier worth using.
pub const DHT_ANSWER_BYTES_PER_SECOND: u32 = 8000;

/// Bytes of an answer: what no network fragments.
pub const DHT_ANSWER_BYTES_MAX: usize = 1200;

/// How many times as long as its question an answer may be while the asker has not proven that it is
/// at its address. Stops us from multiplying what is sent in a victim's name.
pub const DHT_ANSWER_FACTOR_MAX: usize = 6;

/// Nodes that asked us, or were named to us, and wait to be asked whether they are there.
pub const DHT_HEARD_NODES_MAX: usize = 64;

/// Names of hosts to bootstrap from, of all channels together.
pub const DHT_HOSTS_MAX: usize = 256;

/// Addresses of nodes to bootstrap from, for each IP version.
pub const DHT_BOOTSTRAP_NODES_MAX: usize = 256;

/// Nodes saved for the next run, for each IP version.
pub const DHT_SAVED_NODES_MAX: usize = 200;

const _: () = assert!(DHT_LOOKUP_INSECURE_QUERIES_MAX < DHT_LOOKUP_QUERIES_MAX);
const _: () = assert!(
    DHT_LOOKUPS_MAX * DHT_LOOKUP_BRANCHES_MAX < DHT_QUERIES_IN_FLIGHT_MAX,
    "no look-up starves"
);

/// Bytes of a message of local discovery. Stops datagrams that cost more to read than any client
/// sends; a frame of Ethernet, and libtorrent's bound too.
pub const LAN_DATAGRAM_BYTES_MAX: usize = 1500;

/// Infohashes read of one message of local discovery. Stops one datagram from costing many look-ups.
pub const LAN_INFOHASHES_MAX: usize = 32;

/// Messages of local discovery read a second, over some time. Stops a flood on the local network
/// from taking a core; sixteen times as many may come at once, when clients with many torrents start.
pub const LAN_DATAGRAMS_PER_SECOND_MAX: u32 = 256;

/// The same of one IP address. Stops one host from taking the turns of all others.
pub const LAN_DATAGRAMS_PER_SOURCE_MAX: u32 = 32;

/// IP addresses whose messages are counted apart; others are counted together. Stops forged senders
/// from filling memory.
pub const LAN_SOURCES_MAX: usize = 256;

/// Members of one channel found on the local network within [`LAN_PEERS_WITHIN`]. Stops a neighbour
/// who repeats what it hears under forged addresses from becoming as many dials.
pub const LAN_PEERS_PER_CHANNEL_MAX: usize = 2 * MEMBERS_MAX;
/// Ports of one IP address among them. Stops one who names every port of a victim; leaves room for
/// many nodes on one host.
pub const LAN_PORTS_PER_IP_MAX: usize = 16;
/// The same in all channels together. Bounds memory.
pub const LAN_PEERS_MAX: usize = 4096;
/// See [`LAN_PEERS_PER_CHANNEL_MAX`]; the interval at which clients announce.
pub const LAN_PEERS_WITHIN: Duration = Duration::from_secs(300);

/// An address heard on the local network is passed on again only after this time. Stops a repeated
/// message from becoming a dial each time.
pub const LAN_PEER_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Own addresses that announce on the local network. Stops router advertisements of many prefixes
/// from multiplying each of our messages.
pub const LAN_ADDRESSES_MAX: usize = 64;

const _: () = assert!(LAN_PEERS_PER_CHANNEL_MAX < CANDIDATES_PER_SOURCE_MAX);
const _: () = assert!(LAN_PORTS_PER_IP_MAX < LAN_PEERS_PER_CHANNEL_MAX);

/// Bytes of an entry's body before it is sealed. Stops one entry from being more than a message and
/// what comes with it.
pub const ENTRY_BODY_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 1024;

/// Greatest number of an entry in its chain; keeps clocks, which numbers bound, below 2^63.
pub const ENTRY_NUMBER_MAX: u64 = 1 << 31;

/// Entries of other chains that one entry names as seen before it. Stops an entry from making its
/// readers wait for, and ask for, a multitude.
pub const ENTRY_AFTER_MAX: usize = 16;

/// Chains in one `Have` frame; more go into more frames.
pub const HAVE_CHAINS_PER_FRAME_MAX: usize = 256;

/// Certificates in one `Entries` frame. Stops one frame from costing us many signatures.
pub const CERTIFICATES_PER_FRAME_MAX: usize = 16;

/// Entries in one `Entries` frame. Stops the same.
pub const ENTRIES_PER_FRAME_MAX: usize = 256;

/// Bytes of entries sent for one `Want`. Stops a short frame from costing us a long answer.
pub const WANT_BYTES_MAX: usize = 128 * 1024;

/// Chains of one channel. Stops a member who makes up identities from filling memory and disk.
pub const CHAINS_PER_CHANNEL_MAX: usize = 1024;

/// Of them, those that are left for authors who are linked with us. Stops made-up authors from
/// shutting out who is there.
pub const CHAINS_FOR_LINKED: usize = 256;

/// Chains of one channel of which we lack something. Stops invented ones from filling memory.
pub const CHAINS_BEHIND_MAX: usize = 4 * CHAINS_PER_CHANNEL_MAX;

/// Chains of one author in a channel: devices, and archives that were lost. Stops one author from
/// taking all.
pub const CHAINS_PER_AUTHOR_MAX: usize = 64;

/// Bytes of entries of one channel that wait for the disk, or for entries that come before them.
/// Stops a flooding member from filling memory while the disk is busy; what is over is dropped and
/// fetched later.
pub const LOG_PENDING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Entries that wait for entries that come before them, in one channel. See
/// [`LOG_PENDING_BYTES_MAX`]; what is over waits no longer.
pub const LOG_WAITING_ENTRIES_MAX: usize = 1024;

/// How long an entry waits for those that its author names as seen before. Stops an author that
/// names what does not exist from holding itself up for longer.
pub const LOG_WAITING_MAX: Duration = Duration::from_secs(5);

/// Wishes of ours that one peer has not answered, over all channels; it takes as many of each
/// channel. Stops a peer from having us read our disk without end.
pub const WANTS_PER_PEER_MAX: usize = 2;

/// Wishes of ours of one channel that are not answered. Bounds what comes at once.
pub const WANTS_PER_CHANNEL_MAX: usize = 8;

/// Receipts of one channel, by own chain and peer. Stops made-up peers from filling memory.
pub const LOG_RECEIPTS_MAX: usize = 4096;

const _: () = assert!(
    CHAT_WINDOW_BYTES + (WANTS_PER_PEER_MAX + 1) * WANT_BYTES_MAX < CONTROL_QUEUE_BYTES_MAX,
    "what is pushed and what is answered must fit a link's queue"
);
const _: () = assert!(ENTRY_BODY_BYTES_MAX + 8 * 1024 <= FRAME_BYTES_MAX, "an entry fits a frame");

/// Bytes of a `.chat` file in an invitation over a link: what a frame holds beside the tickets.
pub const INVITE_FILE_BYTES_MAX: usize = FRAME_BYTES_MAX - 1024;

const _: () = assert!(
    INVITE_FILE_BYTES_MAX + TICKETS_MAX * (crate::channel::TICKET_BYTES + 2) + 64
        <= FRAME_BYTES_MAX,
    "the largest invitation fits a frame"
);

/// Invitations of one contact that wait for a person's word, and their bytes. Stops one contact from
/// filling the list that a person has to read. As many are owed to one peer at most.
pub const INVITES_PER_CONTACT_MAX: usize = 8;
/// See [`INVITES_PER_CONTACT_MAX`].
pub const INVITE_BYTES_PER_CONTACT_MAX: usize = 128 * 1024;

const _: () = assert!(
    CHAT_WINDOW_BYTES
        + (WANTS_PER_PEER_MAX + 1) * WANT_BYTES_MAX
        + INVITE_BYTES_PER_CONTACT_MAX
        + INVITES_PER_CONTACT_MAX * 1024
        < CONTROL_QUEUE_BYTES_MAX,
    "all that is owed to one peer fits a link's queue beside what is said"
);

/// Invitations of one peer that no person has added. Stops members of open channels, who are
/// strangers, from advertising.
pub const INVITES_PER_STRANGER_MAX: usize = 1;

/// Invitations of all such peers together. Stops one with many identities; leaves most of the list to
/// contacts.
pub const INVITES_OF_STRANGERS_MAX: usize = 8;

/// Invitations that wait for a person's word, and their bytes: they are in memory alone.
pub const INVITES_WAITING_MAX: usize = 64;
/// See [`INVITES_WAITING_MAX`].
pub const INVITE_BYTES_WAITING_MAX: usize = 1024 * 1024;

const _: () = assert!(
    INVITES_OF_STRANGERS_MAX * FRAME_BYTES_MAX <= INVITE_BYTES_WAITING_MAX / 2,
    "strangers leave room for contacts"
);

/// For how long an invitation waits, and is offered: what nobody wanted for so long must not keep
/// others out.
pub const INVITE_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Invitations of one contact that are looked at, one after the other within this time, and so many at
/// once. Stops a contact from having us check [`TICKETS_MAX`] signatures and read a file for each of
/// an endless number of frames; leaves room for all that it may have waiting, twice over.
pub const INVITE_OF_CONTACT_EVERY: Duration = Duration::from_secs(60);
/// See [`INVITE_OF_CONTACT_EVERY`].
pub const INVITES_OF_CONTACT_AT_ONCE: u32 = 16;

/// The same for one peer that no person has added.
pub const INVITE_OF_STRANGER_EVERY: Duration = Duration::from_secs(600);
/// See [`INVITE_OF_STRANGER_EVERY`].
pub const INVITES_OF_STRANGER_AT_ONCE: u32 = 2;

/// The same for all such peers together. Stops one with many identities.
pub const INVITE_OF_STRANGERS_EVERY: Duration = Duration::from_secs(60);
/// See [`INVITE_OF_STRANGERS_EVERY`].
pub const INVITES_OF_STRANGERS_AT_ONCE: u32 = 16;

/// The same for everybody together. Stops many contacts, or many devices of theirs, from taking a
/// core.
pub const INVITE_EVERY: Duration = Duration::from_secs(1);
/// See [`INVITE_EVERY`].
pub const INVITES_AT_ONCE: u32 = 128;

/// Peers whose invitations are counted apart; others are counted together. Stops made-up identities
/// from filling memory.
pub const INVITERS_COUNTED_MAX: usize = 256;

/// Invitations that a person declined and that are not told again by the same peer, in one run.
pub const INVITES_DECLINED_MAX: usize = 256;

/// Invitations of ours that nobody has answered, over all channels. Bounds what is kept for people who
/// never come.
pub const INVITES_OWED_MAX: usize = 512;

/// People invited to a new group at once: with us they are as many as a channel links.
pub const GROUP_INVITED_MAX: usize = MEMBERS_MAX - 1;

const _: () = assert!(GROUP_INVITED_MAX <= INVITES_OWED_MAX, "a whole group can be owed");
