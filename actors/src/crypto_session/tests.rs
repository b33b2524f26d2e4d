//! A session between neighbours that say what they were told.

use bitchat_protocol::id::MessageId;
use bitchat_protocol::machine::Machine as _;
use bitchat_protocol::quic::Suite;
use bitchat_protocol::wire::{self, Whisper};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::peer_transport::{OpenStream, SubscribeStreams, WriteStream};

const RED: ChannelId = ChannelId([1; 32]);
const US: PeerId = PeerId([1; 32]);
const PEER: PeerId = PeerId([2; 32]);
const HANDSHAKE: [u8; 64] = [9; 64];

/// Says what it was told, and admits everybody.
struct Neighbour(UnboundedSender<Told>);

#[derive(Debug)]
enum Told {
    Up,
    Said(usize),
    Peers,
    Invited,
    Closed(CloseCode),
}

impl Actor for Neighbour {
    type Context = Context<Self>;
}

macro_rules! heeds {
    ($($message:ty => $told:expr),+ $(,)?) => {
        $(impl Handler<$message> for Neighbour {
            type Result = ();

            fn handle(&mut self, message: $message, _: &mut Context<Self>) {
                let told: fn($message) -> Option<Told> = $told;
                told(message).map(|told| self.0.send(told));
            }
        })+
    };
}

heeds! {
    PeerProven => |_| None,
    PeerUp => |_| Some(Told::Up),
    PeerRefused => |_| None,
    SharedChannelsChanged => |_| None,
    PeerRenamed => |_| None,
    LinkEnded => |_| None,
    SendFrames => |_| None,
    MixSecret => |_| None,
    UpdateKeys => |_| None,
    WriteStream => |_| None,
    SubscribeStreams => |_| None,
    CloseLink => |close| Some(Told::Closed(close.code)),
    LinkNews => |news| matches!(news, LinkNews::Peers { .. }).then_some(Told::Peers),
    InviteNews => |news| matches!(news, InviteNews::Frame { .. }).then_some(Told::Invited),
    ChatNews => |news| match news {
        ChatNews::Frames { frames, .. } => Some(Told::Said(frames.len())),
        ChatNews::Rerouted(_)
        | ChatNews::PeerUp(_)
        | ChatNews::PeerDown(_)
        | ChatNews::Refused(_) => None,
    },
}

impl Handler<OpenStream> for Neighbour {
    type Result = Option<bitchat_protocol::quic::StreamId>;

    fn handle(&mut self, _: OpenStream, _: &mut Context<Self>) -> Self::Result {
        None
    }
}

impl Handler<AdmitPeer> for Neighbour {
    type Result = actix::MessageResult<AdmitPeer>;

    fn handle(&mut self, question: AdmitPeer, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(Admission::Accept { name: question.name.into() })
    }
}

/// Ends a neighbour, as a fault does.
#[derive(Message)]
#[rtype(result = "()")]
struct End;

impl Handler<End> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// An office that takes one message into its mailbox and never reads it.
struct Sleeper;

impl Actor for Sleeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1);
        ctx.wait(std::future::pending().into_actor(self));
    }
}

impl Handler<ChatNews> for Sleeper {
    type Result = ();

    fn handle(&mut self, _: ChatNews, _: &mut Context<Self>) {}
}

impl Handler<InviteNews> for Sleeper {
    type Result = ();

    fn handle(&mut self, _: InviteNews, _: &mut Context<Self>) {}
}

impl Handler<JudgePeer> for Neighbour {
    type Result = actix::MessageResult<JudgePeer>;

    fn handle(&mut self, _: JudgePeer, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(Ok(None))
    }
}

impl Handler<NoteTurndown> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: NoteTurndown, _: &mut Context<Self>) {}
}

impl Handler<TakeMove> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: TakeMove, _: &mut Context<Self>) {}
}

fn neighbour() -> (actix::Addr<Neighbour>, UnboundedReceiver<Told>) {
    let (told, heard) = unbounded_channel();
    (Neighbour(told).start(), heard)
}

/// A session whose peer is admitted and has not been introduced to the offices, and what its
/// neighbours below and above are told.
async fn admitted() -> (actix::Addr<CryptoSession>, UnboundedReceiver<Told>) {
    let proofs: OwnChannels = Arc::new(vec![OwnChannel {
        id: RED,
        proof: Secret::new([5; 32]),
        member_proof: Some(Secret::new([6; 32])),
        only: None,
        door: None,
    }]);
    let remote: SocketAddr = "127.0.0.1:6881".parse().unwrap();
    let (all, mut told) = neighbour();
    let config = Config {
        own_peer: US,
        own_name: Arc::from("we"),
        incarnation: [1; 8],
        link: LinkKey(1),
        role: Role::Dialler,
        channel: RED,
        remote,
        channels: Arc::clone(&proofs),
        blocked: Blocked::default(),
        renewal_interval: Duration::from_secs(3600),
    };
    let offices = Offices {
        admit: all.clone().recipient(),
        judge: all.clone().recipient(),
        turned_down: all.clone().recipient(),
        proven: all.clone().recipient(),
        moves: all.clone().recipient(),
        up: all.clone().recipient(),
        refused: all.clone().recipient(),
        shared: all.clone().recipient(),
        renamed: all.clone().recipient(),
        ended: all.clone().recipient(),
    };
    let session = CryptoSession::new(config, offices).start();
    let ready = TransportReady {
        frames: all.clone().recipient(),
        mix: all.clone().recipient(),
        update: all.clone().recipient(),
        close: all.clone().recipient(),
        streams: Streams {
            open: all.clone().recipient(),
            write: all.clone().recipient(),
            subscribe: all.clone().recipient(),
        },
    };
    session.send(ready).await.unwrap();
    let established =
        Established { peer: PEER, handshake_hash: HANDSHAKE, suite: Suite::ChaCha20Poly1305 };
    session.send(SessionEstablished { established, generation: 1 }).await.unwrap();
    hear(&session, vec![hello(&proofs, remote)]).await;
    assert!(matches!(told.recv().await, Some(Told::Up)));
    (session, told)
}

/// What the peer's session says first.
fn hello(proofs: &OwnChannels, observed: SocketAddr) -> Bytes {
    let config = session::Config {
        own_peer: PEER,
        name: "peer".to_owned(),
        incarnation: [2; 8],
        role: Role::Listener,
        channel: RED,
        handshake_hash: HANDSHAKE,
        peer: US,
        is_blocked: false,
        channels: proofs.to_vec(),
        observed,
        renewal_interval: Duration::from_secs(3600),
    };
    let mut peer = Session::new(clock::now(), config, 1, Rng::from_seed([2; 32]));
    let Some(Output::SendFrame(body)) = peer.poll_output() else { panic!("it greets first") };
    Bytes::from(body)
}

async fn hear(session: &actix::Addr<CryptoSession>, frames: Vec<Bytes>) {
    session.send(FramesReceived { generation: 1, frames }).await.unwrap();
}

fn say(number: u8) -> Bytes {
    let said = Whisper { id: MessageId([number; 16]), unix_ms: 1, text: "hi".to_owned() };
    Bytes::from(wire::encode(&Frame::Whisper(said)))
}

fn peers() -> Bytes {
    let (added, removed) = (Vec::new(), Vec::new());
    let frame = Peers { channel: RED, full: true, added, removed };
    Bytes::from(wire::encode(&Frame::Peers(frame)))
}

#[actix::test]
async fn what_the_peer_says_waits_until_the_offices_know_it() {
    let (session, _told) = admitted().await;
    hear(&session, vec![say(1), peers()]).await;
    hear(&session, vec![say(2)]).await;
    let (mesh, mut of_mesh) = neighbour();
    let (chat, mut of_chat) = neighbour();
    session
        .send(SetOffices { mesh: Some(mesh.recipient()), chat: None, invites: None })
        .await
        .unwrap();
    assert!(matches!(of_mesh.recv().await, Some(Told::Peers)));
    session
        .send(SetOffices { mesh: None, chat: Some(chat.recipient()), invites: None })
        .await
        .unwrap();
    assert!(matches!(of_chat.recv().await, Some(Told::Said(2))));
    hear(&session, vec![say(3)]).await;
    assert!(matches!(of_chat.recv().await, Some(Told::Said(1))));
}

#[actix::test]
async fn an_office_that_restarts_gets_afterwards_what_came_meanwhile() {
    let (session, _told) = admitted().await;
    let (office, mut heard) = neighbour();
    let both = |office: &actix::Addr<Neighbour>| SetOffices {
        mesh: Some(office.clone().recipient()),
        chat: Some(office.clone().recipient()),
        invites: None,
    };
    session.send(both(&office)).await.unwrap();
    office.send(End).await.unwrap();
    assert!(heard.recv().await.is_none(), "it has ended");
    hear(&session, vec![say(1), peers(), peers()]).await;
    hear(&session, vec![say(2)]).await;
    let (office, mut heard) = neighbour();
    session.send(both(&office)).await.unwrap();
    assert!(matches!(heard.recv().await, Some(Told::Said(2))));
    for _ in 0..2 {
        assert!(matches!(heard.recv().await, Some(Told::Peers)));
    }
}

#[actix::test]
async fn an_office_that_cannot_keep_up_costs_the_link() {
    let (session, mut told) = admitted().await;
    let chat = Sleeper.start().recipient();
    session.send(SetOffices { mesh: None, chat: Some(chat), invites: None }).await.unwrap();
    for number in 0..8 {
        hear(&session, vec![say(number)]).await;
    }
    assert!(matches!(told.recv().await, Some(Told::Closed(CloseCode::Overloaded))));
}

#[actix::test]
async fn a_peer_that_says_too_much_for_an_office_that_never_comes_is_left() {
    let (session, mut told) = admitted().await;
    hear(&session, vec![say(1); FRAMES_HELD_MAX]).await;
    hear(&session, vec![say(1)]).await;
    assert!(matches!(told.recv().await, Some(Told::Closed(CloseCode::Overloaded))));
}

fn invite_answer() -> Bytes {
    let answer = bitchat_protocol::wire::InviteAnswer { channel: RED, accepted: true };
    Bytes::from(wire::encode(&Frame::InviteAnswer(answer)))
}

#[actix::test]
async fn invitations_wait_for_who_takes_them_and_those_that_find_no_room_cost_nothing() {
    let (session, mut told) = admitted().await;
    hear(&session, vec![invite_answer(); 2 * INVITED_HELD_MAX]).await;
    let (office, mut heard) = neighbour();
    let invites = Some(office.recipient());
    session.send(SetOffices { mesh: None, chat: None, invites }).await.unwrap();
    for _ in 0..INVITED_HELD_MAX {
        assert!(matches!(heard.recv().await, Some(Told::Invited)));
    }
    hear(&session, vec![invite_answer()]).await;
    assert!(matches!(heard.recv().await, Some(Told::Invited)));
    assert!(heard.try_recv().is_err());
    // Who takes none of them any more, and is full, does not end the link either.
    let invites = Some(Sleeper.start().recipient());
    session.send(SetOffices { mesh: None, chat: None, invites }).await.unwrap();
    for _ in 0..8 {
        hear(&session, vec![invite_answer(); 32]).await;
    }
    assert!(!matches!(told.try_recv(), Ok(Told::Closed(_))));
}
