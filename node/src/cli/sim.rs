//! `bitchat sim`: lives through a channel in the simulation, as its tests do.

use bitchat_actors::clock;
use bitchat_protocol::log::sim;
use clap::Args;
use serde_json::json;

use super::Context;
use crate::exit::Failure;

/// `bitchat sim`
#[derive(Debug, Args)]
pub struct SimArguments {
    /// Which channel: the same number is the same life
    #[arg(long, value_name = "N")]
    seed: u64,
    /// How many, one after the other from that one on
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
}

/// Does it; the first promise that is broken ends it.
pub(super) fn run(arguments: &SimArguments, context: &Context) -> Result<(), Failure> {
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.count) {
        let report = sim::run(clock::now(), seed);
        let report = report.map_err(|failure| Failure::failed(failure.to_string()))?;
        let sim::Report {
            nodes,
            said,
            refused,
            crashes,
            rollbacks,
            cuts,
            frames,
            forks,
            healed_after,
        } = report;
        let text = format!(
            "seed {seed}: {nodes} nodes, {said} messages said and {refused} refused, {crashes} crashes, \
             {rollbacks} rollbacks, {cuts} cuts, {frames} frames, {forks} forks; one log {} ms after \
             the healing",
            healed_after.as_millis(),
        );
        let json = json!({
            "seed": seed, "nodes": nodes, "said": said, "refused": refused, "crashes": crashes,
            "rollbacks": rollbacks, "cuts": cuts, "frames": frames, "forks": forks,
            "healed_after_ms": u64::try_from(healed_after.as_millis()).unwrap_or(u64::MAX),
        });
        context.output.data(text, &json)?;
    }
    Ok(())
}
