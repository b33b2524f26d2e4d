//! The mesh outlives a node that is killed and a tracker that is gone.

use std::net::SocketAddr;

use actix::Actor as _;
use bitchat_actors::channel_book::{ChannelBook, FindChannel, ListLastKnown};
use bitchat_actors::vault::Profile;
use bitchat_integration_tests::node::{Chat, Home};
use bitchat_integration_tests::tracker::free_port;
use serde_json::json;

use crate::scene::{MESH_WITHIN, SOON, Scene, is, must_have_links, must_talk};

/// The mesh is whole, and the node that came back talks with both others.
fn must_be_back(chats: &mut [Chat]) {
    for chat in &mut *chats {
        must_have_links(chat, 2, MESH_WITHIN);
    }
    must_talk(chats, 0, 2, "are you back?");
    must_talk(chats, 2, 1, "I am");
}

#[test]
fn a_node_that_was_killed_and_started_at_once_is_linked_before_it_was_missed() {
    let scene = Scene::new(3);
    let Some(_tracker) = scene.start_tracker() else { return };
    let mut chats = scene.chat_all();
    chats[2].kill();
    chats[2] = scene.chat(2);
    must_be_back(&mut chats);
}

#[test]
fn a_node_that_was_killed_and_missed_comes_back_without_the_others_restarting() {
    let scene = Scene::new(3);
    let Some(_tracker) = scene.start_tracker() else { return };
    // Half a minute, if not said, until a dead link is told from a quiet one.
    let settings = ["--set", "mesh.keep_alive=1s", "--set", "mesh.idle_timeout=3s"];
    let mut chats = scene.chat_all_with(&settings);
    chats[2].kill();
    for chat in &mut chats[..2] {
        chat.wait_for(MESH_WITHIN, |line| is(line, "member_down"));
        must_have_links(chat, 1, MESH_WITHIN);
    }
    must_talk(&mut chats, 0, 1, "where is he?");
    chats[2] = scene.chat_with(2, &settings);
    must_be_back(&mut chats);
}

/// Where a home's node, which does not run, will look for members of "team" at its next start.
fn last_known(home: &Home) -> Vec<SocketAddr> {
    let profile = Profile::open(&home.data_dir(), "default", None).expect("a profile not in use");
    actix::System::new().block_on(async {
        let book = ChannelBook::open(&profile).expect("its channels").start();
        let find = FindChannel { text: "team".to_owned() };
        let found = book.send(find).await.expect("the book lives").expect("the channel");
        book.send(ListLastKnown { id: found.id }).await.expect("the book lives")
    })
}

/// Where the only member linked with this node is.
fn address_of_member(chat: &mut Chat) -> SocketAddr {
    let peers = chat.ask("peers", json!({}), SOON);
    let address = peers["members"][0]["address"].as_str().expect("a link's address");
    address.parse().expect("an address")
}

#[test]
fn without_any_tracker_a_newcomer_comes_in_by_the_one_address_that_it_knows() {
    let scene = Scene::new(3);
    let Some(mut tracker) = scene.start_tracker() else { return };
    let mut newcomer = scene.chat(2);
    let mut chats = vec![scene.chat(0)];
    must_have_links(&mut newcomer, 1, MESH_WITHIN);
    let known = address_of_member(&mut newcomer);
    assert_eq!(newcomer.end_input(SOON), Some(0));
    assert_eq!(last_known(&scene.homes[2]), [known]);
    chats[0].wait_for(SOON, |line| is(line, "member_down"));
    chats.push(scene.chat(1));
    for chat in &mut chats {
        must_have_links(chat, 1, MESH_WITHIN);
    }

    tracker.stop();
    must_talk(&mut chats, 0, 1, "the tracker is gone");
    // At another port than before: nobody can dial it, so the way in is its own.
    let elsewhere = format!("network.listen_port={}", free_port().expect("a free port"));
    chats.push(scene.chat_with(2, &["--set", &elsewhere]));
    for chat in &mut chats {
        must_have_links(chat, 2, MESH_WITHIN);
    }
    must_talk(&mut chats, 2, 1, "here I am");
}
