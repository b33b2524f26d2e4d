//! The composition of the whole node: which actors there are, in which order, and who knows whom.
//!
//! Order is dependency. A child is given recipients of those before it at each start, so when one
//! is restarted, those after it are restarted too.

use std::sync::Arc;
use std::time::Duration;

use bitchat_protocol::id::ChannelId;
use bitchat_protocol::mesh;

use crate::archive::{Archive, Retention};
pub use crate::channel_book::MeetingPlaces;
use crate::channel_book::{ChannelBook, People};
use crate::chat_desk::{self, ChatDesk};
use crate::contact_book::ContactBook;
use crate::dht::{self, Dht};
use crate::directory::Directory;
use crate::http_fetch::Fetcher;
use crate::invitations::{self, Invitations};
use crate::lan_discovery::{self, LanDiscovery};
use crate::mesh_manager::{self, MeshManager};
use crate::peer_supervisor::{self, PeerSupervisor};
use crate::resolver::{self, Resolver};
use crate::source::ListSources;
use crate::supervision::{ActorSpec, ChildSpec, Line, RestartLimit, Slot, Strategy, Supervisor};
use crate::tracker_announcer::{self, TrackerAnnouncer};
use crate::udp_port::{self, UdpPort};
use crate::vault::Profile;

/// How much longer than the trackers are given the announcer may take to stop.
const LEAVING_MARGIN: Duration = Duration::from_secs(1);

/// Which channels of the profile are open in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// All that there are.
    All,
    /// These.
    These(Vec<ChannelId>),
}

/// What a node is told at its birth.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who we are, and where our files are.
    pub profile: Arc<Profile>,
    /// Which channels are open, beside those of pairs.
    pub open: Open,
    /// Where the channels of us and each contact meet; `None`: there are none.
    pub pairs: Option<MeetingPlaces>,
    /// The display name that peers are told; may be empty.
    pub name: Arc<str>,
    /// Where we listen, and how links behave.
    pub udp: udp_port::Config,
    /// Between two renewals of a link's keys.
    pub renewal_interval: Duration,
    /// Links that are being opened at once.
    pub dials_at_once: usize,
    /// How names are resolved.
    pub resolver: resolver::Config,
    /// How trackers are talked to; `None`: not at all.
    pub announcer: Option<tracker_announcer::Config>,
    /// How we are in the DHT; `None`: not at all.
    pub dht: Option<bitchat_protocol::dht::Config>,
    /// How much is kept of each channel.
    pub retention: Retention,
    /// Whether a console comes after the chat desk: what happens before it stands waits for it.
    pub has_console: bool,
    /// How members are looked for on the local network; `None`: not at all.
    pub lan: Option<lan_discovery::Config>,
    /// How often actors may fail before the node gives up.
    pub restarts: RestartLimit,
}

/// Where the actors of a node are found by those who come after them.
#[derive(Debug, Clone, Default)]
pub struct Offices {
    /// People.
    pub contact_book: Slot<ContactBook>,
    /// Channels.
    pub channel_book: Slot<ChannelBook>,
    /// What was said.
    pub archive: Slot<Archive>,
    /// Sockets.
    pub udp_port: Slot<UdpPort>,
    /// Names.
    pub resolver: Slot<Resolver>,
    /// Links.
    pub peer_supervisor: Slot<PeerSupervisor>,
    /// Members.
    pub mesh_manager: Slot<MeshManager>,
    /// Trackers; empty where they are not used.
    pub tracker_announcer: Slot<TrackerAnnouncer>,
    /// The DHT; empty where it is not used.
    pub dht: Slot<Dht>,
    /// The local network; empty where it is not used.
    pub lan_discovery: Slot<LanDiscovery>,
    /// Messages.
    pub chat_desk: Slot<ChatDesk>,
    /// Who is asked into channels.
    pub invitations: Slot<Invitations>,
    /// Who is linked.
    pub directory: Directory,
}

impl Offices {
    /// All that may find members: each is restarted without those who ask it.
    #[must_use]
    pub fn sources(&self) -> Vec<Line<ListSources>> {
        vec![self.tracker_announcer.line(), self.dht.line(), self.lan_discovery.line()]
    }
}

/// The tree of a node, not yet running; a console may be added as its last child.
pub fn supervisor(config: Config) -> (Supervisor, Offices) {
    let offices = Offices::default();
    let restarts = config.restarts;
    let config = Arc::new(config);
    let tree = Supervisor::new("root", Strategy::RestForOne)
        .limit(restarts)
        .child(contact_book(&config, &offices))
        .child(channel_book(&config, &offices))
        .child(archive(&config, &offices))
        .child(udp_port(&config, &offices))
        .child(resolver(&config, &offices))
        .child(peer_supervisor(&config, &offices))
        .child(mesh_manager(&config, &offices))
        .child(discovery(&config, &offices))
        .child(chat_desk(&config, &offices))
        .child(invitations(&config, &offices));
    (tree, offices)
}

/// Those who look for members. None of them depends on another, and nobody on them: one that fails
/// is alone in starting again.
fn discovery(config: &Arc<Config>, offices: &Offices) -> ChildSpec {
    let (config, offices) = (Arc::clone(config), offices.clone());
    ChildSpec::supervisor("discovery", move || {
        let mut part = Supervisor::new("discovery", Strategy::OneForOne).limit(config.restarts);
        if let Some(announcer) = &config.announcer {
            part = part.child(tracker_announcer(announcer.clone(), &offices));
        }
        if let Some(dht) = &config.dht {
            let file = config.profile.file("dht");
            part = part.child(dht_node(dht::Config { dht: dht.clone(), file }, &offices));
        }
        if let Some(lan) = &config.lan {
            part = part.child(lan_discovery(lan.clone(), &offices));
        }
        part
    })
}

fn contact_book(config: &Arc<Config>, offices: &Offices) -> ActorSpec<ContactBook> {
    let profile = Arc::clone(&config.profile);
    let open = move || ContactBook::open(&profile).map_err(|error| error.to_string());
    ChildSpec::try_actor("contact_book", open).slot(&offices.contact_book)
}

fn channel_book(config: &Arc<Config>, offices: &Offices) -> ActorSpec<ChannelBook> {
    let (config, slots) = (Arc::clone(config), offices.clone());
    let open = move || {
        let book = ChannelBook::open(&config.profile).map_err(|error| error.to_string())?;
        let book = book.with_people(People {
            contacts: slots.contact_book.need()?,
            changes: slots.contact_book.need()?,
            places: config.pairs.clone(),
        });
        Ok(match &config.open {
            Open::All => book.with_all_open(),
            Open::These(ids) => book.with_open(ids),
        })
    };
    ChildSpec::try_actor("channel_book", open).slot(&offices.channel_book).asked()
}

/// On a thread of its own, as it waits for the disk.
fn archive(config: &Arc<Config>, offices: &Offices) -> ActorSpec<Archive> {
    let (profile, slots) = (Arc::clone(&config.profile), offices.clone());
    let open = move || {
        let archive = Archive::open(&profile).map_err(|error| error.to_string())?;
        Ok(archive.with_book(slots.channel_book.need()?))
    };
    let thread = actix::Arbiter::new().handle();
    ChildSpec::try_actor("archive", open).slot(&offices.archive).on(thread)
}

fn udp_port(config: &Arc<Config>, offices: &Offices) -> ActorSpec<UdpPort> {
    let config = Arc::clone(config);
    let bind = move || {
        let identity = config.profile.identity().signing_key();
        UdpPort::bind(config.udp.clone(), identity).map_err(|error| {
            let addresses: Vec<String> =
                config.udp.listen.iter().map(ToString::to_string).collect();
            format!(
                "cannot listen on {}: {error}; choose another port with \
                 --set network.listen_port=PORT, or end the program that has it",
                addresses.join(" and "),
            )
        })
    };
    ChildSpec::try_actor("udp_port", bind).slot(&offices.udp_port)
}

fn resolver(config: &Arc<Config>, offices: &Offices) -> ActorSpec<Resolver> {
    let config = config.resolver.clone();
    ChildSpec::actor("resolver", move || Resolver::new(config.clone())).slot(&offices.resolver)
}

fn peer_supervisor(config: &Arc<Config>, offices: &Offices) -> ActorSpec<PeerSupervisor> {
    let (config, slots) = (Arc::clone(config), offices.clone());
    let make = move || {
        let udp = &slots.udp_port;
        let offices = peer_supervisor::Offices {
            connect: udp.need()?,
            attach: udp.need()?,
            abandon: udp.need()?,
            endpoint: udp.need()?,
            carry: udp.need()?,
            observed: udp.need()?,
            incoming: udp.need()?,
            admit: slots.contact_book.need()?,
            contacts: slots.contact_book.need()?,
            judge: slots.channel_book.need()?,
            turned_down: slots.channel_book.need()?,
            moves: slots.channel_book.need()?,
        };
        let config = peer_supervisor::Config {
            own_peer: config.profile.peer_id(),
            own_name: Arc::clone(&config.name),
            // Another one at each start, as its links are lost: peers must not hold on to them.
            incarnation: peer_supervisor::incarnation(),
            renewal_interval: config.renewal_interval,
        };
        Ok(PeerSupervisor::new(config, offices, slots.directory.clone()))
    };
    ChildSpec::try_actor("peer_supervisor", make).slot(&offices.peer_supervisor).asked()
}

fn mesh_manager(config: &Arc<Config>, offices: &Offices) -> ActorSpec<MeshManager> {
    let mesh =
        mesh::Config { own_peer: config.profile.peer_id(), dials_at_once: config.dials_at_once };
    let slots = offices.clone();
    let make = move || {
        let (udp, peers) = (&slots.udp_port, &slots.peer_supervisor);
        let offices = mesh_manager::Offices {
            contacts: slots.contact_book.need()?,
            channels: slots.channel_book.need()?,
            last_known: slots.channel_book.need()?,
            add: udp.need()?,
            remove: udp.need()?,
            port: udp.need()?,
            own: udp.need()?,
            dial: peers.need()?,
            end: peers.need()?,
            own_channels: peers.need()?,
            links: peers.need()?,
        };
        Ok(MeshManager::new(mesh, offices, slots.directory.clone()))
    };
    ChildSpec::try_actor("mesh_manager", make).slot(&offices.mesh_manager).asked()
}

fn tracker_announcer(
    config: tracker_announcer::Config,
    offices: &Offices,
) -> ActorSpec<TrackerAnnouncer> {
    let slots = offices.clone();
    // A silent tracker takes all of the first to be left.
    let grace = config.announcer.profile.stopped_timeout + LEAVING_MARGIN;
    let make = move || {
        let neighbours = tracker_announcer::Neighbours {
            udp: slots.udp_port.need()?,
            udp_answers: slots.udp_port.need()?,
            resolver: slots.resolver.need()?,
            peers: slots.mesh_manager.need()?,
            mesh: slots.mesh_manager.need()?,
            fetcher: Fetcher::new(),
        };
        Ok(TrackerAnnouncer::new(config.clone(), neighbours))
    };
    let spec = ChildSpec::try_actor("tracker_announcer", make).grace(grace);
    spec.slot(&offices.tracker_announcer).asked()
}

fn lan_discovery(config: lan_discovery::Config, offices: &Offices) -> ActorSpec<LanDiscovery> {
    let slots = offices.clone();
    let make = move || {
        let neighbours = lan_discovery::Neighbours {
            peers: slots.mesh_manager.need()?,
            mesh: slots.mesh_manager.need()?,
        };
        Ok(LanDiscovery::new(config.clone(), neighbours))
    };
    ChildSpec::try_actor("lan_discovery", make).slot(&offices.lan_discovery)
}

fn dht_node(config: dht::Config, offices: &Offices) -> ActorSpec<Dht> {
    let slots = offices.clone();
    let make = move || {
        let neighbours = dht::Neighbours {
            udp: slots.udp_port.need()?,
            udp_messages: slots.udp_port.need()?,
            resolver: slots.resolver.need()?,
            peers: slots.mesh_manager.need()?,
            mesh: slots.mesh_manager.need()?,
            directory: slots.directory.clone(),
        };
        Ok(Dht::new(config.clone(), neighbours))
    };
    ChildSpec::try_actor("dht", make).slot(&offices.dht).asked()
}

fn chat_desk(config: &Config, offices: &Offices) -> ActorSpec<ChatDesk> {
    let slots = offices.clone();
    let config = chat_desk::Config {
        key: config.profile.identity().signing_key().clone(),
        retention: config.retention,
        is_heard: config.has_console,
    };
    let make = move || {
        let archive = &slots.archive;
        let offices = chat_desk::Offices {
            peers: slots.peer_supervisor.need()?,
            members: slots.mesh_manager.need()?,
            channels: slots.channel_book.need()?,
            contacts: slots.contact_book.need()?,
            changes: slots.contact_book.need()?,
            archive: chat_desk::ArchiveOffices {
                open: archive.need()?,
                close: archive.need()?,
                append: archive.need()?,
                read_kept: archive.need()?,
                read: archive.need()?,
                find: archive.need()?,
                pruned: archive.need()?,
            },
        };
        Ok(ChatDesk::new(config.clone(), offices, slots.directory.clone()))
    };
    ChildSpec::try_actor("chat_desk", make).slot(&offices.chat_desk)
}

fn invitations(config: &Config, offices: &Offices) -> ActorSpec<Invitations> {
    let (slots, own_peer) = (offices.clone(), config.profile.peer_id());
    let make = move || {
        let book = &slots.channel_book;
        let offices = invitations::Offices {
            peers: slots.peer_supervisor.need()?,
            contacts: slots.contact_book.need()?,
            changes: slots.contact_book.need()?,
            notices: slots.chat_desk.need()?,
            channels: invitations::ChannelOffices {
                events: book.need()?,
                owe: book.need()?,
                owed: book.need()?,
                issue: book.need()?,
                drop: book.need()?,
                renew: book.need()?,
                take: book.need()?,
                find: book.need()?,
            },
        };
        Ok(Invitations::new(own_peer, offices, slots.directory.clone()))
    };
    ChildSpec::try_actor("invitations", make).slot(&offices.invitations)
}
