//! The closed channels that the peer has proven: whether it is let in, and whether it lets us in.
//!
//! ```text
//!  proven, our tickets sent --> [Waiting] -- its tickets --> [Asked] -- admitted --> [Open] -.
//!                                                              ^  |                   |      |
//!                                                              |  '-- not --> [Shut]  | due, | other
//!                                                              '----------------'-----'      | tickets
//!                                                                 other tickets              |
//!                                                              ^-----------------------------'
//! ```
//!
//! A channel is shared once each has let the other in and has said so; before, neither speaks of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Close, Door};
use crate::id::ChannelId;
use crate::limits::TICKETS_SHOWN_MAX;
use crate::wire::TicketBytes;

/// The doors of one link.
#[derive(Debug, Default)]
pub(super) struct Doors {
    doors: BTreeMap<ChannelId, PeerDoor>,
}

#[derive(Debug)]
struct PeerDoor {
    state: State,
    /// What the peer showed last.
    tickets: Vec<TicketBytes>,
    /// How often it did.
    shown: usize,
    /// What we showed last.
    ours: Door,
    /// Whether the peer lets us in, as far as it has said.
    theirs: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Asked { was_open: bool, again: bool },
    Open { recheck_at: Option<Instant> },
    Shut,
}

/// What to do about a door.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// Show our tickets.
    Show(ChannelId, Vec<TicketBytes>),
    /// Ask whether the peer may be in it.
    Ask(ChannelId, Vec<TicketBytes>),
}

impl Doors {
    /// Brings the doors in step with the closed channels that are proven now.
    pub(super) fn set(&mut self, proven: Vec<(ChannelId, Door)>) -> Vec<Todo> {
        let is_proven = |id: &ChannelId| proven.iter().any(|(proven, _)| proven == id);
        self.doors.retain(|id, _| is_proven(id));
        let mut todo = Vec::new();
        for (id, ours) in proven {
            let Some(door) = self.doors.get_mut(&id) else {
                todo.push(Todo::Show(id, ours.tickets.clone()));
                let (state, tickets) = (State::Waiting, Vec::new());
                let door = PeerDoor { state, tickets, shown: 0, ours, theirs: None };
                self.doors.insert(id, door);
                continue;
            };
            let before = std::mem::replace(&mut door.ours, ours);
            if before.tickets != door.ours.tickets {
                // The peer judges these anew, and says what comes of it.
                door.theirs = door.theirs.filter(|lets_in| *lets_in);
                todo.push(Todo::Show(id, door.ours.tickets.clone()));
            }
            if before.revision != door.ours.revision && door.state != State::Waiting {
                todo.extend(door.ask(id));
            }
        }
        todo
    }

    /// Takes what the peer shows; `None`: there is no such door.
    pub(super) fn on_tickets(
        &mut self,
        id: ChannelId,
        tickets: Vec<TicketBytes>,
    ) -> Option<Result<Option<Todo>, Close>> {
        let door = self.doors.get_mut(&id)?;
        door.shown += 1;
        if door.shown > TICKETS_SHOWN_MAX {
            return Some(Err(Close::Violation));
        }
        door.tickets = tickets;
        Some(Ok(door.ask(id)))
    }

    /// Takes a verdict; `None`: it was not asked for, or there is something newer to be asked.
    pub(super) fn on_verdict(
        &mut self,
        now: Instant,
        id: ChannelId,
        verdict: Result<Option<Duration>, ()>,
    ) -> Result<(), Option<Todo>> {
        let door = self.doors.get_mut(&id).ok_or(None)?;
        match door.state {
            State::Asked { was_open, again: true } => {
                door.state = if was_open { State::Open { recheck_at: None } } else { State::Shut };
                Err(door.ask(id))
            }
            State::Asked { again: false, .. } => {
                door.state = match verdict {
                    // What is good for longer than an instant can tell is good for ever.
                    Ok(limit) => {
                        State::Open { recheck_at: limit.and_then(|limit| now.checked_add(limit)) }
                    }
                    Err(()) => State::Shut,
                };
                Ok(())
            }
            State::Waiting | State::Open { .. } | State::Shut => Err(None),
        }
    }

    /// The peer lets us in, or does not; whether there is such a door.
    pub(super) fn on_said(&mut self, id: &ChannelId, lets_in: bool) -> bool {
        self.doors.get_mut(id).map(|door| door.theirs = Some(lets_in)).is_some()
    }

    /// What is to be asked again by `now`.
    pub(super) fn recheck(&mut self, now: Instant) -> Vec<Todo> {
        let is_due = |door: &PeerDoor| matches!(door.state, State::Open { recheck_at: Some(at) } if at <= now);
        let due = self.doors.iter_mut().filter(|(_, door)| is_due(door));
        due.filter_map(|(id, door)| door.ask(*id)).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let at = |door: &PeerDoor| match door.state {
            State::Open { recheck_at } => recheck_at,
            State::Waiting | State::Asked { .. } | State::Shut => None,
        };
        self.doors.values().filter_map(at).min()
    }

    /// Whether a channel with this door, if it has one, is shared.
    pub(super) fn is_open(&self, id: &ChannelId) -> bool {
        self.doors.get(id).is_none_or(PeerDoor::is_shared)
    }

    /// Whether nothing is decided yet about some door.
    pub(super) fn any_pending(&self) -> bool {
        self.doors.values().any(PeerDoor::is_pending)
    }

    /// Whether one of the two does not let the other in somewhere.
    pub(super) fn any_shut(&self) -> bool {
        self.doors.values().any(|door| door.theirs == Some(false) || door.state == State::Shut)
    }

    /// Whether the peer does not let us in somewhere.
    pub(super) fn any_refused(&self) -> bool {
        self.doors.values().any(|door| door.theirs == Some(false))
    }
}

impl PeerDoor {
    fn ask(&mut self, id: ChannelId) -> Option<Todo> {
        if let State::Asked { again, .. } = &mut self.state {
            *again = true;
            return None;
        }
        self.state = State::Asked { was_open: self.is_open(), again: false };
        Some(Todo::Ask(id, self.tickets.clone()))
    }

    const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. } | State::Asked { was_open: true, .. })
    }

    fn is_shared(&self) -> bool {
        self.is_open() && self.theirs == Some(true)
    }

    fn is_pending(&self) -> bool {
        match self.state {
            State::Waiting | State::Asked { was_open: false, .. } => true,
            State::Open { .. } | State::Asked { was_open: true, .. } => self.theirs.is_none(),
            State::Shut => false,
        }
    }
}
