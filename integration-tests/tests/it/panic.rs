//! Every actor fails once; its node is whole again and talks, without being started again.

use std::time::{Duration, Instant};

use bitchat_integration_tests::node::Chat;
use serde_json::{Value, json};

use crate::scene::{SOON, Scene, is};

/// From the panic to a whole mesh and messages both ways.
const WHOLE_WITHIN: Duration = Duration::from_secs(15);

/// One try: what a restarting console has read is lost, so it is asked again.
const TRY: Duration = Duration::from_millis(500);

/// Asks until there is an answer that `wanted` accepts.
#[track_caller]
fn ask_until(
    chat: &mut Chat,
    method: &str,
    params: &Value,
    deadline: Instant,
    wanted: impl Fn(&Value) -> bool,
) {
    let mut last = Value::Null;
    while Instant::now() < deadline {
        let id = chat.request(method, params.clone());
        if let Some(answer) = chat.look_for(TRY, |line| line["id"] == id) {
            if wanted(&answer["result"]) {
                return;
            }
            last = answer;
            chat.listen(Duration::from_millis(50));
        }
    }
    let story = chat.story();
    panic!("{method} was not answered as it should be within {WHOLE_WITHIN:?}: {last}; {story}");
}

fn is_whole(peers: &Value) -> bool {
    peers["mesh"] == "full" && peers["members"][0]["linked"] == true
}

/// Has one say something until the other hears it: what was in a chat desk that failed is lost.
#[track_caller]
fn talk_until_heard(speaker: &mut Chat, listener: &mut Chat, text: &str, deadline: Instant) {
    while Instant::now() < deadline {
        speaker.request("say", json!({ "text": text }));
        let heard = |line: &Value| is(line, "message") && line["params"]["text"] == text;
        if listener.look_for(TRY, heard).is_some() {
            return;
        }
    }
    panic!("{text} was not heard; {}\nspeaker: {}", listener.story(), speaker.story());
}

fn a_node_is_whole_again_after_a_panic_of(actor: &str) {
    let mut scene = Scene::new(2);
    if actor == "lan_discovery" {
        scene.homes[0].set("lan.enabled", "true");
        scene.homes[0].set("lan.interfaces", "lo");
    }
    if actor == "dht" {
        scene.homes[0].set("dht.enabled", "true");
        // Nobody is there: it is the actor's end and not its network that is the story.
        scene.homes[0].set("dht.routers", "127.0.0.1:9");
    }
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all();
    let [hurt, other] = &mut chats[..] else { unreachable!("two homes") };
    let deadline = Instant::now() + WHOLE_WITHIN;
    let id = hurt.request("panic", json!({ "actor": actor }));
    // The words of the panic itself: it did happen.
    hurt.wait_for_talk(SOON, &[actor]);
    if let Some(answer) = hurt.look_for(Duration::ZERO, |line| line["id"] == id) {
        assert_eq!(answer["result"]["found"], true, "{answer}");
    }
    talk_until_heard(hurt, other, "from the hurt one", deadline);
    talk_until_heard(other, hurt, "to the hurt one", deadline);
    for chat in [&mut *hurt, &mut *other] {
        ask_until(chat, "peers", &json!({}), deadline, is_whole);
        // What was said more than once is all delivered, and not only what was heard first.
        ask_until(chat, "undelivered", &json!({}), deadline, |all| all["messages"] == json!([]));
    }
    assert_eq!(other.end_input(WHOLE_WITHIN), Some(0));
    let code = hurt.end_input(WHOLE_WITHIN);
    if hurt.count(is_loss) > 0 {
        assert_eq!(code, Some(3), "{}", hurt.story());
    } else {
        // 1 if a request was being dealt with when its part failed.
        assert!(matches!(code, Some(0 | 1)), "{code:?}; {}", hurt.story());
    }
}

/// The rows of all channels, by their kind.
fn kinds(status: &Value) -> Vec<&str> {
    let rows = status["channels"][0]["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut kinds: Vec<_> = rows.iter().filter_map(|row| row["kind"].as_str()).collect();
    kinds.dedup();
    kinds
}

#[test]
fn each_source_that_was_started_again_is_in_status_under_all_that_it_had() {
    let mut scene = Scene::new(1);
    for (key, value) in [
        ("lan.enabled", "true"),
        ("lan.interfaces", "lo"),
        ("dht.enabled", "true"),
        // Nobody is there.
        ("dht.routers", "127.0.0.1:9"),
    ] {
        scene.homes[0].set(key, value);
    }
    let mut node = scene.chat(0);
    let all = ["tracker", "dht", "lan"];
    let is_whole = |status: &Value| {
        kinds(status) == all && status["dht"].as_array().is_some_and(|it| !it.is_empty())
    };
    ask_until(&mut node, "status", &json!({}), Instant::now() + WHOLE_WITHIN, is_whole);
    for actor in ["tracker_announcer", "dht", "lan_discovery"] {
        let id = node.request("panic", json!({ "actor": actor }));
        let answer = node.wait_for(SOON, |line| line["id"] == id);
        assert_eq!(answer["result"]["found"], true, "{answer}");
        node.wait_for_talk(SOON, &["panic", actor]);
        ask_until(&mut node, "status", &json!({}), Instant::now() + WHOLE_WITHIN, is_whole);
        // And by the other way, which was not started again either.
        let asked = scene.homes[0].run(&["status", "--json"], b"");
        let status: Value = serde_json::from_slice(&asked.stdout).expect("a status");
        assert_eq!(kinds(&status), all, "after {actor}: {status}");
    }
    assert_eq!(node.end_input(WHOLE_WITHIN), Some(0), "{}", node.story());
}

#[test]
fn links_stay_when_the_mesh_manager_fails() {
    let scene = Scene::new(2);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all();
    let [hurt, other] = &mut chats[..] else { unreachable!("two homes") };
    let ups = hurt.count(|line| is(line, "member_up"));
    hurt.request("panic", json!({"actor": "mesh_manager"}));
    hurt.wait_for_count(ups + 1, WHOLE_WITHIN, |line| is(line, "member_up"));
    talk_until_heard(hurt, other, "still here", Instant::now() + WHOLE_WITHIN);
    assert_eq!(other.count(|line| is(line, "member_down")), 0, "{}", other.story());
}

/// A warning that something said is lost.
fn is_loss(line: &Value) -> bool {
    is(line, "warning") && line["params"]["code"] == 3
}

#[test]
fn what_nobody_had_taken_when_the_chat_desk_failed_is_kept_and_still_owed() {
    let scene = Scene::new(1);
    let mut alone =
        scene.homes[0].chat(&["--set", "trackers.enabled=false", &scene.file, "--linger", "1s"]);
    alone.ask("say", json!({"text": "hello"}), SOON);
    alone.request("panic", json!({"actor": "chat_desk"}));
    let says = |messages: &Value| messages["messages"][0]["text"] == "hello";
    ask_until(&mut alone, "history", &json!({}), Instant::now() + WHOLE_WITHIN, says);
    assert_eq!(alone.count(is_loss), 0, "{}", alone.story());
    assert_eq!(alone.end_input(SOON), Some(3), "nobody has it yet");
    // The next run still owes it.
    let mut later = scene.homes[0].chat(&["--set", "trackers.enabled=false", &scene.file]);
    let owed = |all: &Value| all["messages"].as_array().is_some_and(|all| all.len() == 1);
    ask_until(&mut later, "undelivered", &json!({}), Instant::now() + WHOLE_WITHIN, owed);
}

macro_rules! stories {
    ($($story:ident: $actor:literal,)*) => {$(
        #[test]
        fn $story() {
            a_node_is_whole_again_after_a_panic_of($actor);
        }
    )*};
}

stories! {
    the_contact_book_fails: "contact_book",
    the_channel_book_fails: "channel_book",
    the_archive_fails: "archive",
    the_udp_port_fails: "udp_port",
    the_resolver_fails: "resolver",
    the_peer_supervisor_fails: "peer_supervisor",
    a_crypto_session_fails: "crypto_session",
    a_peer_transport_fails: "peer_transport",
    the_mesh_manager_fails: "mesh_manager",
    the_tracker_announcer_fails: "tracker_announcer",
    lan_discovery_fails: "lan_discovery",
    the_dht_fails: "dht",
    the_chat_desk_fails: "chat_desk",
    the_actor_of_invitations_fails: "invitations",
    the_console_fails: "console",
    the_control_fails: "control",
}
