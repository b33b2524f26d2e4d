//! One process per profile: a lock that the kernel gives back even after a crash.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::{ProfileError, disk};

/// The lock file's name within the profile.
const LOCK_FILE: &str = "lock";

/// Holds a profile for as long as it lives.
#[derive(Debug)]
pub(super) struct ProfileLock {
    _file: File,
}

impl ProfileLock {
    /// Takes the lock of the profile in `dir`, and writes our process id into the file for whoever
    /// comes later.
    pub(super) fn take(dir: &Path, name: &str) -> Result<Self, ProfileError> {
        let path = dir.join(LOCK_FILE);
        let mut file =
            disk::private_options().open(&path).map_err(ProfileError::disk("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ProfileError::InUse {
                    name: name.to_owned(),
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(ProfileError::disk("lock", &path)(error));
            }
        }
        // For information only, so a full disk is no reason to stop.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_learns_who_has_it_until_the_first_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = ProfileLock::take(dir.path(), "default").unwrap();
        let said = ProfileLock::take(dir.path(), "default").unwrap_err().to_string();
        assert!(said.contains(&format!("in use by process {}", std::process::id())), "{said}");
        drop(first);
        ProfileLock::take(dir.path(), "default").unwrap();
    }

    #[test]
    fn what_an_earlier_process_left_in_the_file_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LOCK_FILE), "99999999999999999999\ngarbage").unwrap();
        let _held = ProfileLock::take(dir.path(), "default").unwrap();
        let pid = std::fs::read_to_string(dir.path().join(LOCK_FILE)).unwrap();
        assert_eq!(pid.trim().parse(), Ok(std::process::id()));
    }
}
