//! Our look-ups and libtorrent's of the same infohashes in the same swarm of libtorrent nodes, taking
//! turns.

use std::time::Duration;

use bitchat_integration_tests::mainline::Mainline;
use bitchat_protocol::crypto::Rng;
use bitchat_protocol::id::InfoHash;

use crate::median;
use crate::ours::Ours;

/// Nodes of the swarm.
const NODES: usize = 150;
/// Nodes that ours is told of, as each of the others is.
const KNOWN: usize = 16;
/// Look-ups of each before those that count: the tables of both fill.
const WARM_UP: usize = 10;
const LOOK_UPS: usize = 50;
const LOOK_UP_WITHIN: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Figures {
    asked: Vec<f64>,
    milliseconds: Vec<f64>,
    found: usize,
}

impl Figures {
    fn add(&mut self, asked: u64, took: Duration, found: bool) {
        self.asked.push(asked as f64);
        self.milliseconds.push(took.as_secs_f64() * 1e3);
        self.found += usize::from(found);
    }

    fn medians(&self) -> (f64, f64) {
        (median(self.asked.clone()), median(self.milliseconds.clone()))
    }

    fn mean_asked(&self) -> f64 {
        self.asked.iter().sum::<f64>() / self.asked.len() as f64
    }
}

/// Prints messages and time of a look-up, and their ratios.
pub(crate) fn compare() {
    let Some(mut swarm) = Mainline::start(NODES) else { return };
    let mut ours = Ours::join("127.2.0.1:0", &swarm.nodes()[..KNOWN]);
    let mut rng = Rng::from_seed([7; 32]);
    let (mut us, mut them) = (Figures::default(), Figures::default());
    for round in 0..WARM_UP + LOOK_UPS {
        if round == WARM_UP {
            (us, them) = (Figures::default(), Figures::default());
        }
        let infohash = InfoHash(rng.array());
        let text = infohash.to_string();
        // Somebody has it; who is another one each time.
        let announcer = 1 + round % (NODES - 1);
        swarm.announce(announcer, &text, 4242);
        let wanted = (swarm.nodes()[announcer].ip(), 4242).into();
        let mut their_turn = |swarm: &mut Mainline| {
            let them_now = swarm.look_up(0, &text, LOOK_UP_WITHIN);
            let took = them_now.took.expect("it ends");
            them.add(them_now.asked, took, them_now.peers.contains(&wanted));
        };
        // Who comes first finds colder caches.
        if round % 2 == 0 {
            their_turn(&mut swarm);
        }
        let us_now = ours.look_up(infohash);
        us.add(us_now.asked, us_now.took, us_now.peers.contains(&wanted));
        assert_eq!(us_now.told, 8, "announces");
        if round % 2 == 1 {
            their_turn(&mut swarm);
        }
        // Questions of the others are answered meanwhile.
        ours.live(Duration::from_millis(50));
    }
    print(&us, &them, ours.nodes());
}

fn print(us: &Figures, them: &Figures, table: usize) {
    println!("{NODES} libtorrent nodes, {LOOK_UPS} look-ups each; our table has {table} nodes");
    let ((our_asked, our_time), (their_asked, their_time)) = (us.medians(), them.medians());
    for (name, figures) in [("bitchat", us), ("libtorrent", them)] {
        let (asked, time) = figures.medians();
        let (mean, found) = (figures.mean_asked(), figures.found);
        println!(
            "{name:>10}: {asked:4.1} questions (mean {mean:.1}), {time:6.2} ms, found {found}"
        );
    }
    let mean = us.mean_asked() / them.mean_asked();
    println!(
        "     ratio: questions {:.2} (means {mean:.2}), time {:.2}",
        our_asked / their_asked,
        our_time / their_time,
    );
}
