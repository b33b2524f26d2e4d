//! Profiles on a real disk: made, opened, sealed, damaged.

use std::fs;

use super::*;

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec()).unwrap()
}

fn alice() -> Option<DisplayName> {
    Some(DisplayName::new("Alice").unwrap())
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_profile_is_the_same_after_it_was_closed_with_and_without_passphrase() {
    for secret in [None, Some(passphrase("open sesame"))] {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Profile::find(home.path(), "default").unwrap(), Found::Nothing);
        let mut made = Profile::create(home.path(), "default", alice(), secret.as_ref()).unwrap();
        made.set_udp_port(40_123).unwrap();
        made.set_client_profile("qbittorrent-5.1.0").unwrap();
        made.file("contacts").write(b"bob").unwrap();
        made.file_of("channels", b"id", "chat").write(b"chat").unwrap();
        let card = made.card();
        drop(made);

        let found = if secret.is_some() { Found::Sealed } else { Found::Plain };
        assert_eq!(Profile::find(home.path(), "default").unwrap(), found);
        let opened = Profile::open(home.path(), "default", secret.as_ref()).unwrap();
        assert_eq!(opened.card(), card);
        assert_eq!(opened.display_name().map(DisplayName::as_str), Some("Alice"));
        assert_eq!(opened.udp_port(), Some(40_123));
        assert_eq!(opened.client_profile(), Some("qbittorrent-5.1.0"));
        assert_eq!(opened.is_sealed(), secret.is_some());
        assert_eq!(opened.file("contacts").read().unwrap().unwrap().as_slice(), b"bob");
        let [chat] = &opened.files_in("channels", "chat").unwrap()[..] else { panic!("one file") };
        assert_eq!(chat.read().unwrap().unwrap().as_slice(), b"chat");
        assert_eq!(opened.file_of("channels", b"id", "chat").path(), chat.path());
    }
}

#[test]
fn a_wrong_a_missing_and_a_needless_passphrase_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let (right, wrong) = (passphrase("open sesame"), passphrase("x"));
    drop(Profile::create(home.path(), "sealed", None, Some(&right)).unwrap());
    drop(Profile::create(home.path(), "plain", None, None).unwrap());
    let said = |name, given| Profile::open(home.path(), name, given).unwrap_err().to_string();
    assert_eq!(said("sealed", Some(&wrong)), "wrong passphrase for profile sealed");
    assert_eq!(said("sealed", None), "profile sealed is sealed: its passphrase is needed");
    assert!(said("plain", Some(&right)).contains("profile plain has no passphrase"));
    assert!(Passphrase::new(Vec::new()).is_err());
}

#[test]
fn after_a_change_of_the_passphrase_nothing_opens_with_the_old_one() {
    let home = tempfile::tempdir().unwrap();
    let (old, new) = (passphrase("old"), passphrase("new"));
    let mut profile = Profile::create(home.path(), "default", alice(), None).unwrap();
    let id = profile.peer_id();
    profile.file("contacts").write(b"bob").unwrap();
    let open = |given: Option<&Passphrase>| Profile::open(home.path(), "default", given);

    for (before, after) in [(None, Some(&old)), (Some(&old), Some(&new)), (Some(&new), None)] {
        profile.set_passphrase(after).unwrap();
        drop(profile);
        assert!(open(before).is_err());
        let dir = home.path().join("default");
        let [file, copy] =
            ["identity", "identity.bak"].map(|name| fs::read(dir.join(name)).unwrap());
        assert_eq!(file, copy, "an old version is left");
        profile = open(after).unwrap();
        assert_eq!(profile.peer_id(), id);
        assert_eq!(profile.file("contacts").read().unwrap().unwrap().as_slice(), b"bob");
    }
}

#[test]
fn a_sealed_profile_shows_nothing_of_what_it_keeps() {
    let home = tempfile::tempdir().unwrap();
    let secret = passphrase("open sesame");
    let profile = Profile::create(home.path(), "default", alice(), Some(&secret)).unwrap();
    profile.file("contacts").write(b"the name of bob").unwrap();
    for needle in [&b"Alice"[..], b"name of bob", profile.identity().seed().expose()] {
        for file in ["identity", "identity.bak", "contacts"] {
            let bytes = fs::read(profile.dir().join(file)).unwrap();
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{file}");
        }
    }
}

#[test]
fn a_profile_does_not_print_its_secrets() {
    let home = tempfile::tempdir().unwrap();
    let secret = passphrase("open sesame");
    let profile = Profile::create(home.path(), "default", alice(), Some(&secret)).unwrap();
    let printed = format!("{profile:?} {secret:?} {:?}", profile.file("contacts"));
    let seed = format!("{:?}", profile.identity().seed().expose());
    let storage_key = format!("{:?}", profile.vault.storage_key.expose());
    for hidden in ["sesame", seed.trim_matches(['[', ']']), storage_key.trim_matches(['[', ']'])] {
        assert!(!printed.contains(hidden), "{printed}");
    }
    assert!(printed.contains("storage_key: _") && printed.contains("seed: _"), "{printed}");
}

#[test]
fn a_profile_is_opened_by_one_at_a_time_and_its_files_count() {
    let home = tempfile::tempdir().unwrap();
    let profile = Profile::create(home.path(), "default", None, None).unwrap();
    let in_use = |result: Result<Profile, ProfileError>| matches!(result, Err(ProfileError::InUse { pid: Some(pid), .. }) if pid == std::process::id());
    assert!(in_use(Profile::open(home.path(), "default", None)));
    assert!(in_use(Profile::create(home.path(), "default", None, None)));
    let file = profile.file("contacts");
    drop(profile);
    assert!(in_use(Profile::open(home.path(), "default", None)));
    drop(file);
    Profile::open(home.path(), "default", None).unwrap();
}

#[test]
fn every_damaged_byte_of_the_identity_is_noticed_and_the_copy_opens() {
    let home = tempfile::tempdir().unwrap();
    let profile = Profile::create(home.path(), "default", alice(), None).unwrap();
    let (id, dir) = (profile.peer_id(), profile.dir().to_owned());
    drop(profile);
    let path = dir.join("identity");
    for at in 0..fs::read(&path).unwrap().len() {
        flip(&path, at);
        let error = Profile::open(home.path(), "default", None).unwrap_err();
        assert!(
            matches!(error, ProfileError::Damaged { .. } | ProfileError::Newer { .. }),
            "byte {at}: {error}"
        );
        flip(&path, at);
    }
    flip(&path, 40);
    let said = Profile::open(home.path(), "default", None).unwrap_err().to_string();
    assert!(said.contains("identity is damaged") && said.contains("identity.bak"), "{said}");
    fs::copy(dir.join("identity.bak"), &path).unwrap();
    assert_eq!(Profile::open(home.path(), "default", None).unwrap().peer_id(), id);
}

#[test]
fn a_lost_identity_is_never_replaced_by_a_new_one() {
    let home = tempfile::tempdir().unwrap();
    let profile = Profile::create(home.path(), "default", None, None).unwrap();
    let path = profile.dir().join("identity");
    drop(profile);
    fs::remove_file(&path).unwrap();
    let said = |result: Result<Profile, ProfileError>| result.unwrap_err().to_string();
    assert!(said(Profile::create(home.path(), "default", None, None)).contains("it is missing"));
    assert!(said(Profile::open(home.path(), "default", None)).contains("it is missing"));
    fs::remove_file(disk::backup_of(&path)).unwrap();
    assert!(said(Profile::open(home.path(), "default", None)).contains("there is no profile"));
}

#[test]
fn a_damaged_file_names_itself_and_its_copy_and_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let profile = Profile::create(home.path(), "default", None, None).unwrap();
    let file = profile.file("contacts");
    file.write(b"one").unwrap();
    file.write(b"two").unwrap();
    let good = fs::read(file.path()).unwrap();
    for at in 0..good.len() {
        flip(&file.path(), at);
        assert!(file.read().is_err(), "byte {at}");
        flip(&file.path(), at);
    }
    fs::write(file.path(), &good[..good.len() - 1]).unwrap();
    let said = file.read().unwrap_err().to_string();
    assert!(said.contains("contacts is damaged") && said.contains("contacts.bak"), "{said}");
    fs::remove_file(file.path()).unwrap();
    assert!(file.read().unwrap_err().to_string().contains("it is missing"));
    fs::copy(disk::backup_of(&file.path()), file.path()).unwrap();
    assert_eq!(file.read().unwrap().unwrap().as_slice(), b"one");
    assert!(profile.file("drafts").read().unwrap().is_none());
}

#[test]
fn two_files_cannot_be_exchanged() {
    let home = tempfile::tempdir().unwrap();
    let profile = Profile::create(home.path(), "default", None, None).unwrap();
    let one = profile.file_of("channels", b"one", "chat");
    let two = profile.file_of("channels", b"two", "chat");
    one.write(b"one").unwrap();
    two.write(b"two").unwrap();
    fs::copy(one.path(), two.path()).unwrap();
    assert!(matches!(two.read(), Err(ProfileError::Damaged { .. })));
}

#[test]
fn when_the_disk_refuses_nothing_changes() {
    let home = tempfile::tempdir().unwrap();
    let mut profile = Profile::create(home.path(), "default", alice(), None).unwrap();
    // A directory in the way of the new file: refused for every user.
    let in_the_way = profile.dir().join("identity.tmp");
    fs::create_dir(&in_the_way).unwrap();
    assert!(profile.rename(DisplayName::new("Bob").unwrap()).is_err());
    assert!(profile.set_passphrase(Some(&passphrase("x"))).is_err());
    assert_eq!(profile.display_name(), alice().as_ref());
    assert!(!profile.is_sealed());
    fs::remove_dir(&in_the_way).unwrap();
    drop(profile);
    let opened = Profile::open(home.path(), "default", None).unwrap();
    assert_eq!(opened.display_name(), alice().as_ref());
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let home = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", "../x", "a/b", ".hidden", "-x", "ä", &"x".repeat(65)] {
        let refused = Profile::create(home.path(), name, None, None);
        assert!(matches!(refused, Err(ProfileError::BadName(_))), "{name}");
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn a_directory_open_to_others_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let profile = Profile::create(home.path(), "default", None, None).unwrap();
    let dir = profile.dir().to_owned();
    drop(profile);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let said = Profile::open(home.path(), "default", None).unwrap_err().to_string();
    assert!(said.contains("chmod 700"), "{said}");
}
