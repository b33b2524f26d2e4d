//! Frames to begin with, and what every frame that was read must keep to.

use bitchat_protocol::channel::{MOVE_BYTES_MAX, TICKET_BYTES};
use bitchat_protocol::crypto::dh::KeyPair;
use bitchat_protocol::crypto::kem::{KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_BYTES, KemKeyPair};
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::id::{ChainId, ChannelId, DeviceId, MessageId, PeerId};
use bitchat_protocol::limits::{
    CERTIFICATES_PER_FRAME_MAX, ENTRIES_PER_FRAME_MAX, HAVE_CHAINS_PER_FRAME_MAX,
    INVITE_FILE_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, PEER_ADDRESSES_MAX,
    PEER_RECORDS_PER_FRAME_MAX, PROOFS_MAX, RECEIPTS_PER_FRAME_MAX, REFUSAL_BYTES_MAX, TICKETS_MAX,
};
use bitchat_protocol::log::{Certificate, ENTRY_BYTES_MAX};
use bitchat_protocol::wire::{
    ChainHave, ChannelProof, Delivered, Entries, EntryBytes, FileBytes, Fork, Frame, Have, Hello,
    Invite, InviteAnswer, LetIn, MoveBytes, Moved, MovedKey, PeerRecord, Peers, Refused, Rename,
    RenewAnswer, RenewConfirm, RenewOffer, SharedChannels, TicketBytes, Tickets, Want, Whisper,
    WireAddress,
};

/// One frame of each kind, all about `channel`.
pub fn genuine(channel: ChannelId) -> Vec<Frame> {
    let address = WireAddress("192.0.2.1:5000".parse().expect("an address"));
    let dh = *KeyPair::from_secret(Secret::new([1; 32])).public();
    let kem = KemKeyPair::generate(&mut Rng::from_seed([1; 32])).public().to_vec();
    let proofs = vec![ChannelProof([1; 16]), ChannelProof([2; 16])];
    let record = PeerRecord { peer: PeerId([7; 32]), addresses: vec![address] };
    let id = MessageId([3; 16]);
    let chain = ChainId([4; 16]);
    let raw = |len| EntryBytes(vec![5; len].into());
    let certificate =
        Certificate { author: PeerId([6; 32]), device: DeviceId([7; 8]), mark: [8; 64] };
    let said = Whisper { id, unix_ms: 1, text: "text".to_owned() };
    vec![
        Frame::Hello(Hello {
            version: 1,
            name: "name".to_owned(),
            incarnation: [1; 8],
            capabilities: 0,
            observed: Some(address),
            proofs: proofs.clone(),
        }),
        Frame::SharedChannels(SharedChannels { proofs }),
        Frame::Rename(Rename { name: "other".to_owned() }),
        Frame::Peers(Peers {
            channel,
            full: true,
            added: vec![record],
            removed: vec![PeerId([8; 32])],
        }),
        Frame::Whisper(said),
        Frame::Delivered(Delivered { ids: vec![id] }),
        Frame::RenewOffer(RenewOffer { number: 1, dh, kem }),
        Frame::RenewAnswer(RenewAnswer {
            number: 1,
            dh,
            kem: vec![9; KEM_CIPHERTEXT_BYTES],
            generation: 4,
        }),
        Frame::RenewConfirm(RenewConfirm { number: 1 }),
        Frame::Have(Have {
            channel,
            full: true,
            again: true,
            chains: vec![ChainHave { chain, base: 1, head: 70_000, tip: [9; 8] }],
        }),
        Frame::Want(Want { channel, chain, from: 2, bytes: 1 << 17 }),
        Frame::Entries(Entries {
            channel,
            more: true,
            chains: vec![certificate],
            entries: vec![raw(173), raw(200)],
        }),
        Frame::Fork(Fork { channel, chain: certificate, first: raw(161), second: raw(161) }),
        Frame::Tickets(Tickets { channel, tickets: vec![TicketBytes([1; TICKET_BYTES]); 2] }),
        Frame::Refused(Refused { channel, code: 1, text: "ask".to_owned() }),
        Frame::LetIn(LetIn { channel }),
        Frame::Invite(Invite {
            file: FileBytes(vec![9; 300].into()),
            tickets: vec![TicketBytes([1; TICKET_BYTES]); 2],
        }),
        Frame::InviteAnswer(InviteAnswer { channel, accepted: true }),
        Frame::Moved(Moved {
            channel,
            moved: MoveBytes(vec![1; 227].into()),
            key: MovedKey(Secret::new([2; 32])),
        }),
    ]
}

/// Panics when a frame is over a bound.
pub fn check_bounds(frame: &Frame) {
    match frame {
        Frame::Hello(hello) => {
            assert!(hello.name.len() <= NAME_BYTES_MAX);
            assert!(hello.proofs.len() <= PROOFS_MAX);
        }
        Frame::SharedChannels(shared) => assert!(shared.proofs.len() <= PROOFS_MAX),
        Frame::Rename(rename) => assert!(rename.name.len() <= NAME_BYTES_MAX),
        Frame::Peers(peers) => {
            assert!(peers.added.len() <= PEER_RECORDS_PER_FRAME_MAX);
            assert!(peers.removed.len() <= PEER_RECORDS_PER_FRAME_MAX);
            let bounded = |record: &PeerRecord| record.addresses.len() <= PEER_ADDRESSES_MAX;
            assert!(peers.added.iter().all(bounded));
        }
        Frame::Whisper(said) => assert!((1..=MESSAGE_BYTES_MAX).contains(&said.text.len())),
        Frame::Delivered(delivered) => assert!(delivered.ids.len() <= RECEIPTS_PER_FRAME_MAX),
        Frame::RenewOffer(offer) => assert_eq!(offer.kem.len(), KEM_PUBLIC_BYTES),
        Frame::RenewAnswer(answer) => assert_eq!(answer.kem.len(), KEM_CIPHERTEXT_BYTES),
        Frame::RenewConfirm(_) | Frame::Want(_) | Frame::LetIn(_) | Frame::InviteAnswer(_) => {}
        Frame::Invite(invite) => {
            assert!(invite.file.0.len() <= INVITE_FILE_BYTES_MAX);
            assert!(invite.tickets.len() <= TICKETS_MAX);
        }
        Frame::Have(have) => assert!(have.chains.len() <= HAVE_CHAINS_PER_FRAME_MAX),
        Frame::Entries(Entries { chains, entries, .. }) => {
            assert!(chains.len() <= CERTIFICATES_PER_FRAME_MAX);
            assert!(entries.len() <= ENTRIES_PER_FRAME_MAX);
            assert!(entries.iter().all(|entry| entry.0.len() <= ENTRY_BYTES_MAX));
        }
        Frame::Fork(fork) => {
            assert!(fork.first.0.len().max(fork.second.0.len()) <= ENTRY_BYTES_MAX);
        }
        Frame::Tickets(shown) => assert!(shown.tickets.len() <= TICKETS_MAX),
        Frame::Moved(moved) => assert!(moved.moved.0.len() <= MOVE_BYTES_MAX),
        Frame::Refused(refused) => assert!(refused.text.len() <= REFUSAL_BYTES_MAX),
    }
}
