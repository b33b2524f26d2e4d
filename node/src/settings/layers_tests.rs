//! The layers, one above the other, and what is said about mistakes in them.

use std::collections::BTreeSet;

use super::*;
use crate::settings::{Cipher, LogLevel};

fn flags(flags: &[&str]) -> Layers {
    Layers { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..Layers::default() }
}

fn environment(variables: &[(&str, &str)]) -> Layers {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Layers { environment: variables.iter().map(own).collect(), ..Layers::default() }
}

fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[track_caller]
fn refused(layers: &Layers, expected: &[&str]) {
    let error = layers.load().expect_err("wrong settings").to_string();
    for part in expected {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

#[test]
fn the_reference_file_and_the_code_know_the_same_keys() {
    let loaded = Layers::default().load().unwrap();
    let in_code: BTreeSet<_> = loaded.listing().into_iter().map(|row| row.key).collect();
    let layer = from_toml("reference".into(), BUILT_IN).unwrap();
    let in_file: BTreeSet<_> = layer.values.keys().cloned().collect();
    assert_eq!(in_code, in_file);
    let sections: BTreeSet<_> = in_file.iter().filter_map(|key| key.split('.').next()).collect();
    assert_eq!(sections, SECTIONS.into_iter().collect());
}

#[test]
fn every_key_of_the_reference_file_has_a_comment_of_its_own_or_shares_one() {
    let mut commented = false;
    for line in BUILT_IN.lines() {
        commented =
            line.starts_with('#') || (commented && !line.is_empty() && !line.starts_with('['));
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(commented, "{line}");
        }
    }
}

#[test]
fn the_example_for_one_machine_loads() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/two-on-one-machine.toml");
    let loaded = Layers { file: Some(example.into()), ..Layers::default() }.load().unwrap();
    assert!(!loaded.settings.network.ipv6);
}

#[test]
fn each_layer_wins_over_those_below() {
    let dir = tempfile::tempdir().unwrap();
    let set = |port: u16| format!("[network]\nlisten_port = {port}\n");
    let mut layers = Layers::default();
    assert_eq!(layers.load().unwrap().settings.network.listen_port, 0);
    layers.optional_files =
        vec![file(&dir, "etc", &set(1)), dir.path().join("absent"), file(&dir, "user", &set(2))];
    assert_eq!(layers.load().unwrap().settings.network.listen_port, 2);
    layers.file = Some(file(&dir, "named", &set(3)));
    assert_eq!(layers.load().unwrap().settings.network.listen_port, 3);
    layers.environment = vec![("BITCHAT__NETWORK__LISTEN_PORT".into(), "4".into())];
    assert_eq!(layers.load().unwrap().settings.network.listen_port, 4);
    layers.flags = vec!["network.listen_port=5".into(), "network.listen_port=6".into()];
    let loaded = layers.load().unwrap();
    assert_eq!(loaded.settings.network.listen_port, 6);
    let row = loaded.listing().into_iter().find(|row| row.key == "network.listen_port").unwrap();
    assert_eq!((row.value, row.origin.as_str()), (6.into(), "--set network.listen_port=6"));
    // A layer changes only what it names.
    assert!(loaded.settings.network.ipv4);
}

#[test]
fn flags_and_environment_carry_every_type() {
    let settings = environment(&[
        ("BITCHAT__NETWORK__IPV6", "false"),
        ("BITCHAT__LINK__CIPHER", "chacha20-poly1305"),
        ("BITCHAT__TRACKERS__DEFAULT", "udp://a.example:1/announce, http://b.example/announce"),
        ("BITCHAT__LOG__LEVEL", "debug"),
        ("BITCHAT__CHAT__LINGER", "2m"),
        ("BITCHAT_LOG", "not for us"),
        ("OTHER", "neither"),
    ]);
    let settings = settings.load().unwrap().settings;
    assert!(!settings.network.ipv6);
    assert_eq!(settings.link.cipher, Cipher::ChaCha20Poly1305);
    assert_eq!(
        settings.trackers.default,
        ["udp://a.example:1/announce", "http://b.example/announce"]
    );
    assert_eq!(settings.log.level, LogLevel::Debug);
    assert_eq!(settings.chat.linger.to_string(), "2m");
    assert!(flags(&["trackers.default="]).load().unwrap().settings.trackers.default.is_empty());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_right_one_and_its_layer() {
    refused(
        &environment(&[("BITCHAT__NETWORK__LISTEN_PROT", "1")]),
        &["BITCHAT__NETWORK__LISTEN_PROT", "did you mean \"network.listen_port\""],
    );
    refused(&flags(&["chat.lingr=1s"]), &["--set chat.lingr=1s", "did you mean \"chat.linger\""]);
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "mine.toml", "[mehs]\nkeep_alive = \"5s\"\n");
    let layers = Layers { file: Some(path), ..Layers::default() };
    refused(&layers, &["mine.toml", "\"mehs.keep_alive\"", "\"mesh.keep_alive\""]);
    let path = file(&dir, "empty.toml", "[mesh]\n[zzz]\n");
    refused(&Layers { file: Some(path), ..Layers::default() }, &["\"zzz\"", "config show"]);
}

#[test]
fn a_wrong_type_names_key_and_layer() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "mine.toml", "[network]\nlisten_port = \"many\"\n");
    // A right value in a higher layer does not hide the mistake below.
    let mut layers = flags(&["network.listen_port=1"]);
    layers.file = Some(path);
    refused(&layers, &["mine.toml", "network.listen_port", "many"]);
    refused(&flags(&["network.listen_port=70000"]), &["--set", "network.listen_port", "70000"]);
    refused(&flags(&["chat.linger=10"]), &["chat.linger", "\"1h30m\""]);
    refused(&flags(&["link.cipher=rot13"]), &["link.cipher", "rot13"]);
    let unknown = flags(&["trackers.client_profile=qbittorent-5.1.0"]);
    refused(&unknown, &["trackers.client_profile", "did you mean \"qbittorrent-5.1.0\""]);
    refused(&flags(&["log.format"]), &["--set section.key=value"]);
}

#[test]
fn values_without_sense_are_refused_and_blamed_on_their_layer() {
    refused(
        &flags(&["mesh.keep_alive=20s", "chat.linger=1s"]),
        &["--set mesh.keep_alive=20s: mesh.idle_timeout", "twice"],
    );
    refused(
        &flags(&["link.renewal_interval=1s", "mesh.dials_at_once=0"]),
        &["--set mesh.dials_at_once=0: mesh.dials_at_once"],
    );
    refused(
        &flags(&["mesh.idle_timeout=5s"]),
        &["--set mesh.idle_timeout=5s", "twice mesh.keep_alive (15s)"],
    );
    refused(&flags(&["network.ipv4=false", "network.ipv6=false"]), &["both off"]);
    refused(&flags(&["mesh.dials_at_once=0"]), &["1 to 16"]);
    refused(&flags(&["mesh.dials_at_once=17"]), &["1 to 16"]);
    refused(&flags(&["link.renewal_interval=1s"]), &["1m to 24h"]);
    refused(&flags(&["trackers.default=ftp://x"]), &["\"ftp://x\"", "udp, http or https"]);
    // What one layer breaks, a higher one may repair.
    let both = flags(&["mesh.keep_alive=20s", "mesh.idle_timeout=60s"]);
    assert!(both.load().is_ok());
}

#[test]
fn files_that_are_not_settings_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let named = |path| Layers { file: Some(path), ..Layers::default() };
    refused(&named(dir.path().join("absent.toml")), &["absent.toml", "cannot be read"]);
    refused(&named(file(&dir, "broken.toml", "[network\n")), &["broken.toml", "line 1"]);
    let path = dir.path().join("latin1.toml");
    std::fs::write(&path, b"# caf\xe9\n").unwrap();
    refused(&named(path), &["latin1.toml", "UTF-8"]);
    let path = file(&dir, "huge.toml", &" ".repeat(FILE_BYTES_MAX as usize + 1));
    refused(&named(path), &["huge.toml", "1048576"]);
}
