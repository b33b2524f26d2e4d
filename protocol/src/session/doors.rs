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
//!
//! Where a channel goes on as another one, without somebody, its new key is handed to nobody who was
//! let in by the rules of before: only the verdict on a question that was put under the revision
//! which carries the key counts, and only for the standing that was asked about.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Close, Departure, Door, Turndown};
use crate::channel::Standing;
use crate::crypto::Secret;
use crate::id::ChannelId;
use crate::limits::{MOVES_TOLD_MAX, TICKETS_SHOWN_MAX};
use crate::wire::{Moved, MovedKey, TicketBytes};

/// The doors of one link.
#[derive(Debug, Default)]
pub(super) struct Doors {
    doors: BTreeMap<ChannelId, PeerDoor>,
    /// What the peer did about each channel that it has ever proven. Never shrinks: a door that is taken
    /// away and comes again begins no new count.
    counts: BTreeMap<ChannelId, Counts>,
    /// The number of the last question.
    questions: u64,
}

#[derive(Debug, Default)]
struct Counts {
    /// How often it showed tickets, or changed its mind about us.
    shown: usize,
    /// How often it told where the channel goes on.
    moves: usize,
}

#[derive(Debug)]
struct PeerDoor {
    state: State,
    /// What the peer showed last.
    tickets: Vec<TicketBytes>,
    /// What we showed last.
    ours: Door,
    /// Whether we let it in, as far as we have said since it showed them.
    said: Option<bool>,
    /// Whether the peer lets us in, as far as it has said.
    theirs: Option<bool>,
    /// Why not, while nobody was told.
    turndown: Option<Turndown>,
    /// What the peer has proven to be.
    standing: Standing,
    /// The last question: under which revision, and about what standing. While the door is open, what
    /// the verdict was given on.
    asked: Option<(u64, Standing)>,
    /// What was handed on last: where the channel goes on, and by which key.
    handed: Option<(ChannelId, Secret<32>)>,
    /// Where the peer says that the channel goes on, while it is judged.
    moved: Option<Moved>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Asked { question: u64, was_open: bool, again: bool },
    Open { recheck_at: Option<Instant> },
    Shut,
}

/// What to do about a door.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// Show our tickets.
    Show(ChannelId, Vec<TicketBytes>),
    /// Ask whether the peer may be in it, by the number of the question.
    Ask(ChannelId, u64, Vec<TicketBytes>),
}

impl Doors {
    /// Brings the doors in step with the closed channels that are proven now.
    pub(super) fn set(&mut self, proven: Vec<(ChannelId, Standing, Door)>) -> Vec<Todo> {
        let is_proven = |id: &ChannelId| proven.iter().any(|(proven, ..)| proven == id);
        self.doors.retain(|id, _| is_proven(id));
        let mut todo = Vec::new();
        for (id, standing, ours) in proven {
            let Some(door) = self.doors.get_mut(&id) else {
                todo.push(Todo::Show(id, ours.tickets.clone()));
                self.doors.insert(id, PeerDoor::new(standing, ours));
                continue;
            };
            let before = std::mem::replace(&mut door.ours, ours);
            if before.tickets != door.ours.tickets {
                // The peer judges these anew, and says what comes of it.
                door.theirs = door.theirs.filter(|lets_in| *lets_in);
                todo.push(Todo::Show(id, door.ours.tickets.clone()));
            }
            let proves_other = std::mem::replace(&mut door.standing, standing) != standing;
            if proves_other {
                // It was let in as something else.
                door.shut();
            }
            let is_outdated = before.revision != door.ours.revision || proves_other;
            if is_outdated && door.state != State::Waiting {
                todo.extend(door.ask(id, &mut self.questions));
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
        if let Err(why) = self.counts.entry(id).or_default().shows() {
            return Some(Err(why));
        }
        door.tickets = tickets;
        door.said = None;
        Some(Ok(door.ask(id, &mut self.questions)))
    }

    /// Takes a verdict. `Ok`: whether the peer is to be told. `Err`: it was not asked for, or there is
    /// something newer to be asked.
    pub(super) fn on_verdict(
        &mut self,
        now: Instant,
        id: ChannelId,
        question: u64,
        verdict: Result<Option<Duration>, ()>,
    ) -> Result<bool, Option<Todo>> {
        let door = self.doors.get_mut(&id).ok_or(None)?;
        match door.state {
            State::Asked { question: asked, .. } if asked != question => Err(None),
            State::Asked { was_open, again: true, .. } => {
                door.state = if was_open { State::Open { recheck_at: None } } else { State::Shut };
                Err(door.ask(id, &mut self.questions))
            }
            State::Asked { again: false, .. } => {
                door.state = match verdict {
                    // What is good for longer than an instant can tell is good for ever.
                    Ok(limit) => {
                        State::Open { recheck_at: limit.and_then(|limit| now.checked_add(limit)) }
                    }
                    Err(()) => {
                        door.moved = None;
                        State::Shut
                    }
                };
                Ok(door.said.replace(verdict.is_ok()) != Some(verdict.is_ok()))
            }
            State::Waiting | State::Open { .. } | State::Shut => Err(None),
        }
    }

    /// The peer lets us in, or says why not; `None`: there is no such door. Whether that is new.
    pub(super) fn on_said(
        &mut self,
        id: &ChannelId,
        lets_in: Result<(), Turndown>,
    ) -> Option<Result<bool, Close>> {
        let door = self.doors.get_mut(id)?;
        if door.theirs == Some(lets_in.is_ok()) {
            return Some(Ok(false));
        }
        if let Err(why) = self.counts.entry(*id).or_default().shows() {
            return Some(Err(why));
        }
        door.theirs = Some(lets_in.is_ok());
        door.turndown = lets_in.err();
        Some(Ok(true))
    }

    /// Why the peer does not let us in, once it is known whether it is let in itself, or at the `end`. Who
    /// is not has no words for a person.
    pub(super) fn take_turndowns(&mut self, end: bool) -> Vec<(ChannelId, Turndown)> {
        let take = |(id, door): (&ChannelId, &mut PeerDoor)| {
            let is_undecided =
                matches!(door.state, State::Waiting | State::Asked { was_open: false, .. });
            if is_undecided && !end {
                return None;
            }
            let mut why = door.turndown.take()?;
            if !door.is_open() {
                why.text.clear();
            }
            Some((*id, why))
        };
        self.doors.iter_mut().filter_map(take).collect()
    }

    /// What is to be handed on now to the peer, once for each key.
    pub(super) fn hand_on(&mut self) -> Vec<Moved> {
        let due = |(id, door): (&ChannelId, &mut PeerDoor)| door.hand_on(*id);
        self.doors.iter_mut().filter_map(due).collect()
    }

    /// Takes that a channel goes on; `None`: there is no such door.
    pub(super) fn on_moved(&mut self, moved: Moved) -> Option<Result<(), Close>> {
        let door = self.doors.get_mut(&moved.channel)?;
        let counts = self.counts.entry(moved.channel).or_default();
        counts.moves += 1;
        if counts.moves > MOVES_TOLD_MAX {
            return Some(Err(Close::Violation));
        }
        // It is told once: of who is being judged it waits for the verdict.
        if door.is_shared() || matches!(door.state, State::Asked { .. }) {
            door.moved = Some(moved);
        }
        Some(Ok(()))
    }

    /// Where channels go on that are shared.
    pub(super) fn take_moves(&mut self) -> Vec<Moved> {
        let shared = self.doors.values_mut().filter(|door| door.is_shared());
        shared.filter_map(|door| door.moved.take()).collect()
    }

    /// What is to be asked again by `now`.
    pub(super) fn recheck(&mut self, now: Instant) -> Vec<Todo> {
        let is_due = |door: &PeerDoor| matches!(door.state, State::Open { recheck_at: Some(at) } if at <= now);
        let due = self.doors.iter_mut().filter(|(_, door)| is_due(door));
        due.filter_map(|(id, door)| door.ask(*id, &mut self.questions)).collect()
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

    /// Whether there is a peer that has to read why it is not let in somewhere.
    pub(super) fn any_refused_by_us(&self) -> bool {
        self.doors.values().any(|door| door.state == State::Shut)
    }

    #[cfg(test)]
    pub(super) fn question(&self, id: &ChannelId) -> u64 {
        match self.doors[id].state {
            State::Asked { question, .. } => question,
            State::Waiting | State::Open { .. } | State::Shut => 0,
        }
    }
}

impl Counts {
    const fn shows(&mut self) -> Result<(), Close> {
        self.shown += 1;
        if self.shown > TICKETS_SHOWN_MAX { Err(Close::Violation) } else { Ok(()) }
    }
}

impl PeerDoor {
    const fn new(standing: Standing, ours: Door) -> Self {
        Self {
            state: State::Waiting,
            tickets: Vec::new(),
            ours,
            said: None,
            theirs: None,
            turndown: None,
            standing,
            asked: None,
            handed: None,
            moved: None,
        }
    }

    /// Until there is another verdict.
    const fn shut(&mut self) {
        match &mut self.state {
            State::Open { .. } => self.state = State::Shut,
            State::Asked { was_open, .. } => *was_open = false,
            State::Waiting | State::Shut => {}
        }
    }

    fn hand_on(&mut self, channel: ChannelId) -> Option<Moved> {
        let Departure { moved, successor, seed, secret } = self.ours.departure.as_ref()?;
        let is_judged = matches!(self.state, State::Open { .. })
            && self.asked == Some((self.ours.revision, self.standing));
        let key = match (self.standing, secret) {
            (Standing::Member, Some(secret)) => secret,
            (Standing::Member, None) | (Standing::Seeder, _) => seed,
        };
        let is_handed = |(to, by): &(ChannelId, Secret<32>)| to == successor && by == key;
        if !is_judged || !self.is_shared() || self.handed.as_ref().is_some_and(is_handed) {
            return None;
        }
        let moved = Moved { channel, moved: moved.clone(), key: MovedKey(key.clone()) };
        self.handed = Some((*successor, key.clone()));
        Some(moved)
    }

    fn ask(&mut self, id: ChannelId, questions: &mut u64) -> Option<Todo> {
        if let State::Asked { again, .. } = &mut self.state {
            *again = true;
            return None;
        }
        *questions += 1;
        let (question, was_open) = (*questions, self.is_open());
        self.state = State::Asked { question, was_open, again: false };
        self.asked = Some((self.ours.revision, self.standing));
        Some(Todo::Ask(id, question, self.tickets.clone()))
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
