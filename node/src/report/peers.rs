//! The members of a channel: the result of `peers`.

use bitchat_actors::mesh_manager::{Member, Members};
use bitchat_protocol::channel::Standing;
use bitchat_protocol::id::PeerId;
use bitchat_protocol::text::escape_for_terminal;
use serde::{Deserialize, Serialize};

use super::words::{mesh, safe_name, short};

/// The members of a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeersReport {
    /// Our own view.
    pub(crate) mesh: String,
    pub(crate) members: Vec<MemberReport>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemberReport {
    pub(crate) peer: String,
    pub(crate) name: String,
    pub(crate) linked: bool,
    /// `member` or `seeder`; null where nobody can say.
    pub(crate) standing: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) rtt_ms: Option<f64>,
    /// Its own view.
    pub(crate) mesh: String,
    pub(crate) connected_with: Vec<String>,
    pub(crate) not_connected_with: Vec<String>,
}

impl From<&Members> for PeersReport {
    fn from(Members { mesh: own, members }: &Members) -> Self {
        Self { mesh: mesh(*own).into(), members: members.iter().map(MemberReport::from).collect() }
    }
}

impl From<&Member> for MemberReport {
    fn from(member: &Member) -> Self {
        let ids = |peers: &[PeerId]| peers.iter().map(ToString::to_string).collect();
        Self {
            peer: member.peer.to_string(),
            name: member.name.to_string(),
            linked: member.linked,
            standing: member.standing.map(|standing| standing.word().into()),
            address: member.address.map(|address| address.to_string()),
            rtt_ms: member.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
            mesh: mesh(member.mesh).into(),
            connected_with: ids(&member.connected_with),
            not_connected_with: ids(&member.not_connected_with),
        }
    }
}

impl PeersReport {
    /// How many members are linked with us.
    pub(crate) fn linked(&self) -> usize {
        self.readers().filter(|member| member.linked).count()
    }

    fn readers(&self) -> impl Iterator<Item = &MemberReport> {
        self.members.iter().filter(|member| !member.is_seeder())
    }

    /// A line, and one for each member; `label` is made safe already.
    pub(crate) fn describe(&self, label: &str) -> String {
        let (linked, all) = (self.linked(), self.readers().count());
        let mesh = escape_for_terminal(&self.mesh);
        let seeders = seeders(self.members.len() - all);
        let mut text = format!("* {label}: {linked} of {all} linked{seeders}, mesh {mesh}");
        for member in &self.members {
            text += "\n";
            text += &self.describe_member(member);
        }
        text
    }

    fn describe_member(&self, member: &MemberReport) -> String {
        let link = match (member.linked, &member.address, member.rtt_ms) {
            (true, Some(address), Some(rtt)) => {
                format!("linked, {}, {rtt:.1} ms", escape_for_terminal(address))
            }
            (true, ..) => "linked".to_owned(),
            (false, ..) => "not linked with us".to_owned(),
        };
        format!(
            "*   {}{} {} ({link}); mesh {}; with: {}; not with: {}",
            if member.is_seeder() { "seeder " } else { "" },
            safe_name(&member.name),
            short(&member.peer),
            escape_for_terminal(&member.mesh),
            self.names(&member.connected_with),
            self.names(&member.not_connected_with),
        )
    }

    fn names(&self, peers: &[String]) -> String {
        let name_of = |peer: &String| {
            let known = self.members.iter().find(|member| member.peer == *peer);
            known.map_or_else(|| short(peer), |member| safe_name(&member.name))
        };
        let names: Vec<String> = peers.iter().map(name_of).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(" ") }
    }
}

impl MemberReport {
    fn is_seeder(&self) -> bool {
        self.standing.as_deref() == Some(Standing::Seeder.word())
    }
}

/// Seeders, where there are any, as they follow the number of members.
pub(super) fn seeders(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " and 1 seeder".to_owned(),
        count => format!(" and {count} seeders"),
    }
}
