//! The node that serves the profile, where one runs: commands do their work through it.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use bitchat_actors::vault::{Found, Profile};
use bitchat_protocol::text::escape_for_terminal;
use serde_json::Value;

use super::Context;
use crate::control::{Asked, Connection};
use crate::exit::{Exit, Failure};
use crate::profile;

/// How long a node that has just been started may take until it can be asked.
const START_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at whether it can be.
const START_STEP: Duration = Duration::from_millis(50);

/// Who does what a command says.
#[derive(Debug)]
pub(super) enum Doer {
    /// The node that serves the profile.
    Node(Running),
    /// This process, which has the profile for itself.
    Ourselves(Box<Profile>),
}

impl Doer {
    /// Connects to the node that serves the profile, or else opens the profile. A node that is
    /// starting is waited for.
    pub(super) fn find(context: &Context) -> Result<Self, Failure> {
        if let Some(node) = Running::find(context)? {
            return Ok(Self::Node(node));
        }
        let in_use = match profile::open(&context.global) {
            Ok(profile) => return Ok(Self::Ourselves(Box::new(profile))),
            Err(failure) if failure.exit == Exit::InUse => failure,
            Err(failure) => return Err(failure),
        };
        let began = Instant::now();
        while began.elapsed() < START_TIMEOUT {
            std::thread::sleep(START_STEP);
            if let Some(node) = Running::find(context)? {
                return Ok(Self::Node(node));
            }
        }
        Err(in_use)
    }
}

/// A connection to it.
#[derive(Debug)]
pub(super) struct Running(RefCell<Connection>);

impl Running {
    /// Connects to the node that serves the profile; `None`: none runs.
    pub(super) fn find(context: &Context) -> Result<Option<Self>, Failure> {
        let name = &context.global.profile;
        let data_dir = profile::data_dir(&context.global)?;
        if Profile::find(&data_dir, name)? == Found::Nothing {
            return Ok(None);
        }
        let connected = Connection::to(&data_dir.join(name)).map_err(|error| {
            let text = format!("a node runs in profile {name} and cannot be talked to: {error}");
            Failure::new(Exit::InUse, text)
        })?;
        Ok(connected.map(|node| Self(RefCell::new(node))))
    }

    /// Has the node do something.
    pub(super) fn call(&self, method: &str, params: &Value) -> Result<Value, Failure> {
        match self.0.borrow_mut().ask(method, params) {
            Asked::Answered(result) => Ok(result),
            Asked::Refused(refusal) => {
                Err(Failure::new(refusal.exit, escape_for_terminal(&refusal.text)))
            }
            Asked::Failed(text) => {
                Err(Failure::failed(format!("the running node cannot be asked: {text}")))
            }
            Asked::Nobody => Err(Failure::failed("the node has just ended; try again")),
        }
    }

    /// The connection itself.
    pub(super) fn into_connection(self) -> Connection {
        self.0.into_inner()
    }
}
