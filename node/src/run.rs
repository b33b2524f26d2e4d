//! Starts a node and keeps it until it is ended: by a signal, by its console or by its failure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::System;
use bitchat_actors::archive::Retention;
use bitchat_actors::root::{self, MeetingPlaces, Open};
use bitchat_actors::supervision::{
    ChildSpec, Exit as TreeExit, RestartLimit, Stopper, Strategy, Supervisor,
};
use bitchat_actors::vault::Profile;
use bitchat_actors::{clock, lan_discovery, supervision, tracker_announcer, udp_port};
use bitchat_protocol::quic::{EndpointConfig, SuitePreference};
use bitchat_protocol::tracker::ClientProfile;
use bitchat_protocol::{dht, lan};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::channels::Channel;
use crate::console::{self, Console, Ending, Front};
use crate::control::{self, Connection, Control, Place, Remote};
use crate::disguise::{self, Listen};
use crate::exit::{Exit, Failure, OrFail as _};
use crate::methods::notices::Wish;
use crate::methods::{
    About, Contacts, Inviting, Joining, Membership, Methods, Past, Queries, Saying,
};
use crate::output::talk;
use crate::settings::{Cipher, History, Settings};

/// How often actors may fail before the node gives up.
const RESTARTS: RestartLimit = RestartLimit { max: 5, within: Duration::from_secs(60) };

/// How long a console may take to say how the run ends, when a signal asks for the end: longer than
/// it takes to start it again.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a run has beside the actors.
pub(crate) struct Talk {
    pub(crate) channels: Vec<Channel>,
    pub(crate) front: Front,
    pub(crate) linger: Duration,
    pub(crate) receipts: bool,
}

/// Runs a node to its end. With `talk`, it has a console; without, it runs until a signal.
pub(crate) fn run(
    settings: &Settings,
    mut profile: Profile,
    open: Open,
    talk: Option<Talk>,
) -> Result<Exit, Failure> {
    supervision::install_panic_hook();
    let worn = disguise::worn(settings, &mut profile)?;
    let listen = disguise::listen(settings, &worn, &mut profile)?;
    let about = about(&profile, settings);
    let (profile, worn) = (Arc::new(profile), Arc::new(worn));
    let config = root_config(settings, profile, open, worn, listen, talk.is_some());
    let front = talk.as_ref().map(|talk| talk.front.clone());
    let result = System::new().block_on(async {
        let ending = Arc::new(Ending::default());
        let place = control_place(&config.profile);
        let (mut tree, offices) = root::supervisor(config);
        let has_console = talk.is_some();
        if let Some(talk) = talk {
            tree = tree.child(console_spec(talk, &about, &offices, &ending));
        }
        tree = tree.child(control_spec(place, &about, &offices));
        let (stopper, ended) = tree.spawn();
        ending.attach(stopper.clone());
        let console = has_console.then(|| Arc::clone(&ending));
        actix_rt::spawn(obey_signals(stopper, console));
        let exit = ended.await;
        finish(&exit, &ending)
    });
    if let Some(front) = front {
        front.finish();
    }
    result
}

/// Talks through the node at the other end of `node`, until the person or that node ends it. With
/// `channels`, what happens in others is not told.
pub(crate) fn attach(
    node: Connection,
    channels: Option<&[Channel]>,
    talk: Talk,
) -> Result<Exit, Failure> {
    supervision::install_panic_hook();
    let front = talk.front.clone();
    let is_narrow = channels.is_some();
    let wish = Wish(channels.map(|all| all.iter().map(|it| it.id).collect()));
    let result = System::new().block_on(async {
        let remote = Remote::over(node.into_stream())
            .or_fail(Exit::Failed, "the node cannot be talked through")?;
        let subscribed =
            remote.call_alone("subscribe", json!({ "channels": wish.to_json() })).await;
        subscribed.map_err(|refusal| Failure::new(refusal.exit, refusal.text))?;
        let ending = Arc::new(Ending::default());
        let Talk { channels, front, linger, receipts } = talk;
        let config = console::Config { channels, linger, receipts, is_narrow };
        let events = console::read_input(&front, wish);
        let ends = Arc::clone(&ending);
        let make = move || {
            let (node, config) = (console::Node::There(remote.clone()), config.clone());
            Console::new(config, node, front.clone(), events.clone(), Arc::clone(&ends))
        };
        let tree = Supervisor::new("chat", Strategy::RestForOne).limit(RESTARTS);
        let (stopper, ended) = tree.child(ChildSpec::actor("console", make)).spawn();
        ending.attach(stopper.clone());
        actix_rt::spawn(obey_signals(stopper, Some(Arc::clone(&ending))));
        let exit = ended.await;
        finish(&exit, &ending)
    });
    front.finish();
    result
}

/// The exit code: what the console says, unless the tree failed.
fn finish(exit: &TreeExit, ending: &Ending) -> Result<Exit, Failure> {
    match exit {
        TreeExit::Shutdown | TreeExit::Normal => Ok(ending.exit().unwrap_or(Exit::Done)),
        TreeExit::StartFailed(text) => Err(Failure::failed(text.clone())),
        TreeExit::Failed(_) | TreeExit::Panicked(_) | TreeExit::Lost => {
            let text = format!("the node gives up ({exit}); start it again, and report this");
            Err(Failure::new(Exit::Internal, text))
        }
    }
}

fn console_spec(
    talk: Talk,
    about: &Arc<About>,
    offices: &root::Offices,
    ending: &Arc<Ending>,
) -> ChildSpec {
    let (slots, ending, about) = (offices.clone(), Arc::clone(ending), Arc::clone(about));
    let Talk { channels, front, linger, receipts } = talk;
    let is_narrow = false;
    let config = console::Config { channels, linger, receipts, is_narrow };
    let events = console::read_input(&front, Wish::default());
    let make = move || {
        let node = console::Node::Here {
            methods: Box::new(methods(&about, &slots)?),
            notices: slots.chat_desk.need()?,
            channels: slots.channel_book.need()?,
        };
        let (config, front) = (config.clone(), front.clone());
        Ok(Console::new(config, node, front, events.clone(), Arc::clone(&ending)))
    };
    ChildSpec::try_actor("console", make).into()
}

/// Last, as nobody depends on it and it asks all others.
fn control_spec(place: Place, about: &Arc<About>, offices: &root::Offices) -> ChildSpec {
    let (slots, about) = (offices.clone(), Arc::clone(about));
    let make = move || {
        let offices = control::Offices {
            methods: methods(&about, &slots)?,
            notices: slots.chat_desk.need()?,
        };
        Ok(Control::new(place.clone(), offices))
    };
    ChildSpec::try_actor("control", make).into()
}

fn methods(about: &Arc<About>, slots: &root::Offices) -> Result<Methods, String> {
    let trackers = &about.trackers;
    let saying = Saying {
        say: slots.chat_desk.need()?,
        tell: slots.chat_desk.need()?,
        undelivered: slots.chat_desk.need()?,
    };
    let channel_book = slots.channel_book.addr().ok_or("the channel book is not there")?;
    let contact_book = slots.contact_book.addr().ok_or("the contact book is not there")?;
    let invitations = slots.invitations.addr().ok_or("invitations are not there")?;
    let archive = &slots.archive;
    let past = Past {
        page: archive.need()?,
        search: archive.need()?,
        events: archive.need()?,
        span: archive.need()?,
        acknowledge: archive.need()?,
        acknowledged: archive.need()?,
        forget: archive.need()?,
        authors: archive.need()?,
    };
    Ok(Methods {
        past,
        queries: queries(about, slots)?,
        saying,
        joining: Joining::of(&channel_book, trackers),
        inviting: Inviting::of(about.peer, &invitations, trackers),
        contacts: Contacts::of(about.peer, &contact_book),
        membership: Membership { remove: channel_book.clone().recipient() },
    })
}

fn queries(about: &Arc<About>, slots: &root::Offices) -> Result<Queries, String> {
    Ok(Queries {
        about: Arc::clone(about),
        members: slots.mesh_manager.need()?,
        sources: slots.sources(),
        dht: slots.dht.line(),
        lan: slots.lan_discovery.line(),
        whereabouts: slots.udp_port.need()?,
        drops: slots.udp_port.need()?,
        refused: slots.channel_book.need()?,
    })
}

fn about(profile: &Profile, settings: &Settings) -> Arc<About> {
    Arc::new(About {
        peer: profile.peer_id(),
        name: profile.display_name().map_or_else(String::new, ToString::to_string),
        profile: profile.name().to_owned(),
        directory: profile.dir().display().to_string(),
        started: clock::now(),
        trackers: settings.trackers.default.clone(),
    })
}

fn control_place(profile: &Profile) -> Place {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    Place::choose(profile.dir(), runtime.as_deref())
}

/// The first signal asks the node to leave politely, the second ends the process. A console is asked
/// first: it knows what nobody has taken.
async fn obey_signals(stopper: Stopper, console: Option<Arc<Ending>>) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be heard: the node can only be killed");
        return;
    };
    let mut heard = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    heard().await;
    talk("bitchat: leaving; once more to end at once");
    let politely = async {
        if let Some(console) = console {
            console.leave();
            tokio::time::sleep(LEAVE_TIMEOUT).await;
        }
        stopper.stop();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = heard() => {}
        () = politely => {}
    }
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

fn root_config(
    settings: &Settings,
    profile: Arc<Profile>,
    open: Open,
    worn: Arc<ClientProfile>,
    Listen { addresses, reserved }: Listen,
    has_console: bool,
) -> root::Config {
    let network = &settings.network;
    let endpoint = EndpointConfig {
        keep_alive: settings.mesh.keep_alive.0,
        idle_timeout: settings.mesh.idle_timeout.0,
        suites: match settings.link.cipher {
            Cipher::Auto => SuitePreference::auto(),
            Cipher::Aes256Gcm => SuitePreference::aes_first(),
            Cipher::ChaCha20Poly1305 => SuitePreference::chacha_first(),
        },
        ..EndpointConfig::default()
    };
    let buffer_bytes = usize::try_from(network.receive_buffer).unwrap_or(usize::MAX);
    let name = profile.display_name().map_or("", |name| name.as_str());
    let announcer = tracker_announcer::Config {
        announcer: bitchat_protocol::tracker::announcer::Config {
            ipv4: network.ipv4,
            ipv6: network.ipv6,
            profile: Arc::clone(&worn),
        },
    };
    // Who wears a client that is silent on the local network is silent there, too.
    let lan = worn.lan.filter(|_| settings.lan.enabled).map(|habit| lan_discovery::Config {
        lan: lan::Config { habit, ipv4: network.ipv4, ipv6: network.ipv6 },
        interfaces: settings.lan.interfaces.clone(),
    });
    root::Config {
        name: Arc::from(name),
        profile,
        open,
        pairs: meeting_places(settings),
        udp: udp_port::Config { listen: addresses, reserved, buffer_bytes, endpoint },
        renewal_interval: settings.link.renewal_interval.0,
        dials_at_once: settings.mesh.dials_at_once,
        resolver: bitchat_actors::resolver::Config::default(),
        announcer: settings.trackers.enabled.then_some(announcer),
        dht: settings.dht.enabled.then(|| dht_config(settings, &worn)),
        has_console,
        retention: retention(settings),
        lan,
        restarts: RESTARTS,
    }
}

/// How much is kept of each channel.
pub(crate) fn retention(settings: &Settings) -> Retention {
    let History { messages, megabytes, days } = settings.history;
    let limit = |number: u64| (number > 0).then_some(number);
    Retention {
        count: limit(messages),
        bytes: limit(megabytes).map(|megabytes| megabytes.saturating_mul(1024 * 1024)),
        age: limit(days).map(|days| Duration::from_secs(days.saturating_mul(24 * 60 * 60))),
    }
}

/// Where the channels of us and each contact meet; `None`: they are off.
pub(crate) fn meeting_places(settings: &Settings) -> Option<MeetingPlaces> {
    let tiers = settings.trackers.default.iter().map(|tracker| vec![tracker.clone()]).collect();
    settings.contacts.pair_channels.then_some(MeetingPlaces { tiers, nodes: Vec::new() })
}

fn dht_config(settings: &Settings, worn: &ClientProfile) -> dht::Config {
    let routers = settings.dht.router_addresses().unwrap_or_default();
    let routers = routers.iter().map(|router| (router.host().to_owned(), router.port()));
    dht::Config {
        ipv4: settings.network.ipv4,
        ipv6: settings.network.ipv6,
        profile: Arc::clone(&worn.dht),
        routers: routers.collect(),
        ..dht::Config::default()
    }
}
