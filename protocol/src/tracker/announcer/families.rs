//! Over which IP versions a tracker is asked: what the worn client does, within the settings.

use std::net::IpAddr;

use super::{Config, Family};
use crate::tracker::disguise::Families;
use crate::tracker::url::Scheme;

/// The habits of the worn client and the IP versions we have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    http: Families,
    udp: Families,
    ipv4: bool,
    ipv6: bool,
}

impl Usage {
    pub(super) fn new(config: &Config) -> Self {
        let profile = &config.profile;
        let (http, udp) = (profile.http_families, profile.udp_families);
        Self { http, udp, ipv4: config.ipv4, ipv6: config.ipv6 }
    }

    const fn habit(self, scheme: Scheme) -> Families {
        match scheme {
            Scheme::Udp => self.udp,
            Scheme::Http | Scheme::Https => self.http,
        }
    }

    const fn has(self, family: Family) -> bool {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }

    /// Whether trackers of the scheme are asked by the endpoint of the IP version. A client that asks
    /// over one of both has one endpoint, the first that may be.
    pub(super) const fn asks(self, scheme: Scheme, family: Family) -> bool {
        self.has(family)
            && match (self.habit(scheme), family) {
                (Families::Both, _) | (Families::Ipv4, Family::V4) => true,
                (Families::Ipv4, Family::V6) => false,
                (Families::Ipv6First, Family::V6) => true,
                (Families::Ipv6First, Family::V4) => !self.ipv6,
            }
    }

    /// Those of a tracker's addresses that the endpoint uses, and those that it uses if they fail.
    pub(super) fn addresses(
        self,
        scheme: Scheme,
        family: Family,
        all: &[IpAddr],
    ) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let of = |family| all.iter().copied().filter(|ip| Family::of(*ip) == family).collect();
        let either = self.habit(scheme) == Families::Ipv6First && family == Family::V6;
        (of(family), if either && self.ipv4 { of(Family::V4) } else { Vec::new() })
    }
}
