//! The mesh outlives a node that is killed and a tracker that is gone.

use serde_json::json;

use crate::scene::{MESH_WITHIN, SOON, Scene, is, must_have_links, must_talk};

#[test]
fn a_node_that_was_killed_comes_back_without_the_others_restarting() {
    let scene = Scene::new(3);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all();
    chats[2].kill();
    chats[2] = scene.chat(2);
    for chat in &mut chats {
        must_have_links(chat, 2, MESH_WITHIN);
    }
    must_talk(&mut chats, 0, 2, "are you back?");
    must_talk(&mut chats, 2, 1, "I am");
}

#[test]
fn the_mesh_stays_when_the_tracker_is_gone_and_a_known_newcomer_comes_in() {
    let scene = Scene::new(3);
    let Some(mut tracker) = scene.start_tracker() else { return };
    // The newcomer has met one member only: that is the one address that it knows.
    let mut newcomer = scene.chat(2);
    let mut chats = vec![scene.chat(0)];
    must_have_links(&mut newcomer, 1, MESH_WITHIN);
    assert_eq!(newcomer.end_input(SOON), Some(0));
    chats[0].wait_for(SOON, |line| is(line, "member_down"));
    chats.push(scene.chat(1));
    for chat in &mut chats {
        chat.wait_for(MESH_WITHIN, |line| is(line, "member_up"));
        must_have_links(chat, 1, MESH_WITHIN);
    }

    tracker.stop();
    must_talk(&mut chats, 0, 1, "the tracker is gone");
    chats.push(scene.chat(2));
    for chat in &mut chats {
        must_have_links(chat, 2, MESH_WITHIN);
    }
    must_talk(&mut chats, 2, 1, "here I am");
    for chat in &mut chats {
        assert_eq!(chat.ask("peers", json!({}), SOON)["mesh"], "full");
    }
}
