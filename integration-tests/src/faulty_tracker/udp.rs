//! Wrong answers over UDP (BEP 15).

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::{VENOM, compact};

/// What a UDP tracker does to whoever asks it.
#[derive(Debug, Clone, Copy)]
pub enum UdpFault {
    /// Right answers, but to another transaction.
    WrongTransaction,
    /// Answers of 0 to 7 bytes.
    TooShort,
    /// A refusal of 60,000 bytes, which commands the terminal.
    LongRefusal,
    /// Right answers from another port.
    OtherPort,
    /// Right answers without peers, among answers that nobody asked for and that name this peer.
    Unsolicited(SocketAddr),
}

/// Who asks, and the sockets that answer.
pub(super) struct Asker<'a> {
    pub(super) socket: &'a UdpSocket,
    pub(super) elsewhere: &'a UdpSocket,
    pub(super) from: SocketAddr,
}

impl Asker<'_> {
    pub(super) fn mistreat(&self, fault: UdpFault, question: &[u8]) -> io::Result<()> {
        let Some(transaction) = question.get(12..16) else { return Ok(()) };
        let right = right_answer(question, transaction, &[]);
        match fault {
            UdpFault::WrongTransaction => {
                let other = [transaction[0] ^ 1, transaction[1], transaction[2], transaction[3]];
                self.send(self.socket, &right_answer(question, &other, &[]))
            }
            UdpFault::TooShort => (0..8).try_for_each(|len| self.send(self.socket, &right[..len])),
            UdpFault::LongRefusal => {
                let text = VENOM.repeat(60_000 / VENOM.len());
                self.send(self.socket, &[&[0, 0, 0, 3], transaction, &text].concat())
            }
            UdpFault::OtherPort => self.send(self.elsewhere, &right),
            UdpFault::Unsolicited(peer) => {
                for number in 0..100_u32 {
                    let peers = compact(peer).repeat(100);
                    let answer = right_answer(question, &number.to_be_bytes(), &peers);
                    self.send(self.socket, &answer)?;
                    self.send(self.elsewhere, &answer)?;
                }
                self.send(self.socket, &right)?;
                self.send(self.socket, &right_answer(question, transaction, &compact(peer)))
            }
        }
    }

    fn send(&self, socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
        socket.send_to(bytes, self.from).map(drop)
    }
}

/// BEP 15: to a connect request (16 bytes) a connection, to an announce an interval and `peers`.
fn right_answer(question: &[u8], transaction: &[u8], peers: &[u8]) -> Vec<u8> {
    let announce = question.len() > 16;
    let action = [0, 0, 0, u8::from(announce)];
    let rest: &[u8] = if announce { &[0, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0] } else { &[5; 8] };
    let peers = if announce { peers } else { &[] };
    [&action, transaction, rest, peers].concat()
}
