//! A small disk of its own below a directory, to be filled or made read-only.
//!
//! Permissions do not bind root and a quota is nowhere at hand, so it is a real file system in
//! memory. Only root may mount one; elsewhere the story is skipped.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the file that takes what is free.
const FILLER: &str = "filler";

/// A mounted file system of 256 KiB; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Makes the directory `at` and mounts an empty disk there.
    ///
    /// `None` for whoever may not mount: the caller skips its story, and this says so.
    ///
    /// # Panics
    ///
    /// When the directory cannot be made.
    #[must_use]
    pub fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a directory below a temporary one");
        let options = "size=256k,mode=700";
        let mounted =
            run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at));
        if mounted.is_err() {
            let _ = writeln!(io::stderr(), "skipped: a disk cannot be mounted here, {mounted:?}");
        }
        mounted.ok().map(|()| Self { at: at.to_owned() })
    }

    /// Takes all that is free, to the last byte.
    ///
    /// # Panics
    ///
    /// When it cannot be filled for another reason than being full.
    pub fn fill(&self) {
        let mut options = OpenOptions::new();
        let mut filler: File =
            options.append(true).create(true).open(self.at.join(FILLER)).expect("an empty file");
        for piece in [&[0_u8; 4096][..], &[0]] {
            let error = loop {
                if let Err(error) = filler.write_all(piece) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
    }

    /// Gives back what was filled.
    ///
    /// # Panics
    ///
    /// When it was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.at.join(FILLER)).expect("it was filled");
    }

    /// Lets nobody write to it any more.
    ///
    /// # Panics
    ///
    /// When somebody has a file open for writing.
    pub fn make_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.at)).expect("nobody writes");
    }

    /// Every file with its content, but for what fills the disk and the lock, which is no data.
    /// A socket is no file.
    ///
    /// # Panics
    ///
    /// When a file cannot be read.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut directories = vec![self.at.clone()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.is_file() && !path.ends_with(FILLER) && !path.ends_with("lock") {
                    let bytes = std::fs::read(&path).expect("a file");
                    files.push((path, bytes));
                }
            }
        }
        files.sort();
        files
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // At once for new users; those who still have it open keep it until they end.
        let _ = run(Command::new("umount").arg("-l").arg(&self.at));
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
