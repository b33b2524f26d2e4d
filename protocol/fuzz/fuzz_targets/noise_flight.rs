#![no_main]

use bitchat_protocol::crypto::sign::SigningKey;
use bitchat_protocol::crypto::{Rng, Secret};
use bitchat_protocol::noise::pattern::XX_HFS_PSK0;
use bitchat_protocol::noise::{HandshakeState, Role, Static};
use bitchat_protocol_fuzz::patch;
use libfuzzer_sys::fuzz_target;

const PAYLOAD: &[u8] = b"payload";

fn side(role: Role, n: u8) -> HandshakeState {
    let key = SigningKey::from_seed(Secret::new([n; 32]));
    let (psk, rng) = (Secret::new([7; 32]), Rng::from_seed([n; 32]));
    HandshakeState::new(&XX_HFS_PSK0, role, b"fuzz", Static::identity(&key), psk, rng)
}

// The first byte chooses the flight, and whether it is made up or a genuine one that was changed.
fuzz_target!(|data: &[u8]| {
    let Some((&mode, script)) = data.split_first() else { return };
    let flights = XX_HFS_PSK0.flights;
    let target = usize::from(mode) % flights.len();
    let (mut initiator, mut responder) = (side(Role::Initiator, 1), side(Role::Responder, 2));
    for (at, flight) in flights.iter().enumerate().take(target + 1) {
        let (writer, reader) = match flight.sender {
            Role::Initiator => (&mut initiator, &mut responder),
            Role::Responder => (&mut responder, &mut initiator),
        };
        let genuine = writer.write_flight(PAYLOAD).expect("honest keys");
        let mut flight = genuine.clone();
        if at == target {
            if mode & 0x80 == 0 {
                patch(&mut flight, script);
            } else {
                flight = script.to_vec();
            }
        }
        let read = reader.read_flight(&flight);
        assert_eq!(read.is_ok(), flight == genuine, "flight {at}");
    }
    assert_eq!(initiator.is_finished(), target + 1 == flights.len());
});
