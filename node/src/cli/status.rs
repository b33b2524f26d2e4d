//! `bitchat status` and `bitchat peers`: what the running node of the profile tells of itself.

use bitchat_actors::vault::{Found, Profile};
use bitchat_protocol::text::escape_for_terminal;
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Context;
use crate::control::{self, Asked};
use crate::exit::{Exit, Failure};
use crate::profile;
use crate::report::{OTHER_VERSION, PeersReport, StatusReport, safe_name};

/// `bitchat status [C]` and `bitchat peers [C]`
#[derive(Debug, Clone, Args)]
pub struct AskArguments {
    /// One open channel alone: its name or the beginning of its id
    #[arg(value_name = "C")]
    pub channel: Option<String>,
}

/// How the node does.
pub(super) fn status(arguments: &AskArguments, context: &Context) -> Result<Exit, Failure> {
    let result = ask(context, "status", &json!({"channel": arguments.channel}))?;
    let report: StatusReport = read(&result)?;
    context.output.data(report.describe(), &result)?;
    Ok(Exit::Done)
}

/// Who is linked with whom.
pub(super) fn peers(arguments: &AskArguments, context: &Context) -> Result<Exit, Failure> {
    let channels = match &arguments.channel {
        Some(text) => vec![(text.clone(), text.clone())],
        None => open_channels(context)?,
    };
    for (channel, name) in channels {
        let mut result = ask(context, "peers", &json!({ "channel": channel }))?;
        let report: PeersReport = read(&result)?;
        result["channel"] = json!(channel);
        context.output.data(report.describe(&safe_name(&name)), &result)?;
    }
    Ok(Exit::Done)
}

/// Ids and names.
fn open_channels(context: &Context) -> Result<Vec<(String, String)>, Failure> {
    let result = ask(context, "channels", &json!({}))?;
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let one = |channel: &Value| Some((text(&channel["id"])?, text(&channel["name"])?));
    let channels = result["channels"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(channels.iter().filter_map(one).collect())
}

/// Asks the running node of the profile; `None`: there is none.
pub(super) fn ask_if_running(
    context: &Context,
    method: &str,
    params: &Value,
) -> Result<Option<Value>, Failure> {
    let data_dir = profile::data_dir(&context.global)?;
    match control::ask(&data_dir.join(&context.global.profile), method, params) {
        Asked::Answered(result) => Ok(Some(result)),
        Asked::Refused(text) => Err(Failure::failed(escape_for_terminal(&text))),
        Asked::Nobody => Ok(None),
        Asked::Failed(text) => Err(Failure::failed(format!("the node cannot be asked: {text}"))),
    }
}

fn ask(context: &Context, method: &str, params: &Value) -> Result<Value, Failure> {
    let name = &context.global.profile;
    let data_dir = profile::data_dir(&context.global)?;
    if Profile::find(&data_dir, name)? == Found::Nothing {
        let text = format!("there is no profile {name} in {} yet", data_dir.display());
        return Err(Failure::failed(text));
    }
    match control::ask(&data_dir.join(name), method, params) {
        Asked::Answered(result) => Ok(result),
        Asked::Refused(text) => Err(Failure::failed(escape_for_terminal(&text))),
        Asked::Nobody => Err(Failure::failed(format!(
            "no node runs in profile {name}: start one with `bitchat run` or `bitchat chat`, or look \
             what is wrong with `bitchat doctor`"
        ))),
        Asked::Failed(text) => Err(Failure::failed(format!("the node cannot be asked: {text}"))),
    }
}

fn read<T: DeserializeOwned>(result: &Value) -> Result<T, Failure> {
    T::deserialize(result).map_err(|_| Failure::failed(OTHER_VERSION))
}
