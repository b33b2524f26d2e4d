//! Files that are whole at every moment: replaced, never written over.
//!
//! ```text
//! 1. NAME.tmp is written and synced
//! 2. NAME.bak becomes the present NAME (a hard link, so NAME never goes missing)
//! 3. NAME.tmp is renamed to NAME
//! 4. the directory is synced
//! ```
//!
//! A crash before step 3 leaves the old NAME, a crash after it the new one; a left-over NAME.tmp
//! is written over the next time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::ProfileError;

/// Bytes of a file that is read. Stops a file put there by accident from filling the memory; the
/// largest of ours, a full contact book, has about 2 MiB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Whether the version before the new one is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// As `NAME.bak`.
    Previous,
    /// Not at all.
    Nothing,
}

/// Replaces the file's content; on an error the file is as it was.
pub(super) fn replace(path: &Path, bytes: &[u8], keep: Keep) -> Result<(), ProfileError> {
    replace_with(path, keep, |file| file.write_all(bytes))
}

fn replace_with(
    path: &Path,
    keep: Keep,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), ProfileError> {
    let new = beside(path, ".tmp");
    let filled = private_file(&new).and_then(|mut file| {
        fill(&mut file)?;
        file.sync_all()
    });
    if let Err(error) = filled {
        // The space it takes may be what is missing.
        let _ = fs::remove_file(&new);
        return Err(ProfileError::disk("write", path)(error));
    }
    if keep == Keep::Previous {
        keep_previous(path).map_err(ProfileError::disk("keep a copy of", path))?;
    }
    fs::rename(&new, path).map_err(ProfileError::disk("replace", path))?;
    sync_directory_of(path).map_err(ProfileError::disk("sync the directory of", path))
}

/// Reads the whole file; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, ProfileError> {
    let failed = ProfileError::disk("read", path);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match read_bounded(&mut file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => Err(failed(error)),
    }
}

fn read_bounded(file: &mut File) -> io::Result<Zeroizing<Vec<u8>>> {
    let len = file.metadata()?.len();
    if len > FILE_BYTES_MAX {
        let why = format!("it has {len} bytes, and at most {FILE_BYTES_MAX} are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    // Room for all of it at once, and for the read that finds the end.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 32));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes the file and the version before it; no file is no error.
pub(super) fn remove(path: &Path) -> Result<(), ProfileError> {
    let mut was_there = false;
    for path in [backup_of(path), beside(path, ".tmp"), path.to_owned()] {
        was_there |= remove_if_there(&path).map_err(ProfileError::disk("remove", &path))?;
    }
    if !was_there {
        // Not even the directory need be there.
        return Ok(());
    }
    sync_directory_of(path).map_err(ProfileError::disk("sync the directory of", path))
}

/// The names of the files in a directory; none when there is no directory.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, ProfileError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ProfileError::disk("list", dir)(error)),
    };
    let names: io::Result<Vec<_>> =
        entries.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default())).collect();
    names.map_err(ProfileError::disk("list", dir))
}

/// Where the version before a file is kept.
pub(super) fn backup_of(path: &Path) -> PathBuf {
    beside(path, ".bak")
}

/// Makes the directory and those above it, for this user alone where they are new.
pub(super) fn make_directory(path: &Path) -> Result<(), ProfileError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(ProfileError::disk("create", path))
}

/// Refuses a directory that other users may open.
pub(super) fn check_private(path: &Path) -> Result<(), ProfileError> {
    let metadata = fs::metadata(path).map_err(ProfileError::disk("look at", path))?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            return Err(ProfileError::Exposed { path: path.to_owned(), mode });
        }
    }
    #[cfg(not(unix))]
    let _ = metadata;
    Ok(())
}

/// Opens a file for writing from its beginning, readable by this user alone.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = private_options();
    options.truncate(true).open(path)
}

/// How files of a profile are opened for writing.
pub(super) fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn keep_previous(path: &Path) -> io::Result<()> {
    let link = beside(path, ".bak.tmp");
    let _ = remove_if_there(&link)?;
    match fs::hard_link(path, &link) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Some file systems have no hard links.
        Err(_) => {
            let content = Zeroizing::new(fs::read(path)?);
            let mut copy = private_file(&link)?;
            copy.write_all(&content)?;
            copy.sync_all()?;
        }
    }
    fs::rename(&link, backup_of(path))?;
    // Where both were links to one file already, the rename has done nothing.
    remove_if_there(&link).map(|_| ())
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        let is_here = directory.as_os_str().is_empty();
        File::open(if is_here { Path::new(".") } else { directory })?.sync_all()?;
    }
    Ok(())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(path: &Path) -> Option<Vec<u8>> {
        read(path).unwrap().map(|bytes| bytes.to_vec())
    }

    #[test]
    fn a_replaced_file_has_the_new_content_and_keeps_the_old_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contacts");
        assert_eq!(content(&path), None);
        for (bytes, before) in
            [(b"one", None), (b"two", Some(b"one".to_vec())), (b"333", Some(b"two".to_vec()))]
        {
            replace(&path, bytes, Keep::Previous).unwrap();
            assert_eq!(content(&path), Some(bytes.to_vec()));
            assert_eq!(content(&backup_of(&path)), before);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_half_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contacts");
        replace(&path, b"old", Keep::Previous).unwrap();
        let full = replace_with(&path, Keep::Previous, |file| {
            file.write_all(b"ne")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        let said = full.unwrap_err().to_string();
        assert!(said.contains("cannot write") && said.contains("free some space"), "{said}");
        assert_eq!(content(&path), Some(b"old".to_vec()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_state_and_the_next_write_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contacts");
        replace(&path, b"one", Keep::Previous).unwrap();
        // What a crash in step 1, and one between steps 2 and 3, leave behind.
        fs::write(beside(&path, ".tmp"), b"tw").unwrap();
        fs::hard_link(&path, backup_of(&path)).unwrap();
        fs::hard_link(&path, beside(&path, ".bak.tmp")).unwrap();
        assert_eq!(content(&path), Some(b"one".to_vec()));
        replace(&path, b"three", Keep::Previous).unwrap();
        assert_eq!(content(&path), Some(b"three".to_vec()));
        assert_eq!(content(&backup_of(&path)), Some(b"one".to_vec()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        // Below a file nobody, root included, can make a file.
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let path = file.join("contacts");
        let said = replace(&path, b"x", Keep::Previous).unwrap_err().to_string();
        assert!(said.contains("cannot write") && said.contains("contacts"), "{said}");
        assert!(make_directory(&path).is_err());
    }

    #[test]
    fn a_file_larger_than_any_of_ours_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contacts");
        // Sparse: it takes no space.
        File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains("at most 16777216"), "{said}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("a/b");
        make_directory(&made).unwrap();
        let path = made.join("contacts");
        replace(&path, b"x", Keep::Previous).unwrap();
        assert_eq!((mode(&made), mode(&path)), (0o700, 0o600));
        assert!(check_private(&made).is_ok());
        fs::set_permissions(&made, fs::Permissions::from_mode(0o750)).unwrap();
        let said = check_private(&made).unwrap_err().to_string();
        assert!(said.contains("mode 750") && said.contains("chmod 700"), "{said}");
    }

    #[test]
    fn a_removed_file_takes_its_copies_along_and_may_be_gone_already() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contacts");
        replace(&path, b"one", Keep::Previous).unwrap();
        replace(&path, b"two", Keep::Previous).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        remove(&path).unwrap();
    }
}
