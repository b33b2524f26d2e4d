//! Where the control socket is, and who may use it.
//!
//! ```text
//! $XDG_RUNTIME_DIR/bitchat/HASH     the socket, 0600, where that directory is this user's alone
//! <profile>/control                 a symbolic link to it; or, without such a directory, the socket
//! ```
//!
//! Whoever asks begins at `<profile>/control`, so both need not have the same environment. HASH is
//! of the profile's path. The profile's lock proves that no other node serves it: what lies at
//! either place is of an earlier one.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink,
};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use bitchat_protocol::crypto::hash;
use tokio::net::{UnixListener, UnixStream};

/// The name in the profile.
const NAME: &str = "control";
const HASH_LABEL: &str = "bitchat v1 control socket";

/// Where the control socket of a profile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The socket itself.
    socket: PathBuf,
    /// What leads to it, where it is elsewhere.
    link: Option<PathBuf>,
}

impl Place {
    /// Chooses the place for a node that serves the profile in `profile`; `runtime` is what
    /// `XDG_RUNTIME_DIR` says.
    pub(crate) fn choose(profile: &Path, runtime: Option<&Path>) -> Self {
        let in_profile = profile.join(NAME);
        match runtime.and_then(private_in) {
            Some(dir) => {
                let whole = fs::canonicalize(profile).unwrap_or_else(|_| profile.to_owned());
                let bytes = whole.as_os_str().as_encoded_bytes();
                let code: [u8; 8] = hash::unkeyed(HASH_LABEL, &[bytes]);
                let socket = dir.join(format!("{:016x}", u64::from_be_bytes(code)));
                Self { socket, link: Some(in_profile) }
            }
            None => Self { socket: in_profile, link: None },
        }
    }

    /// Where to connect to the node that serves the profile in `profile`, if one has left word.
    pub(super) fn of_node(profile: &Path) -> Option<PathBuf> {
        let path = profile.join(NAME);
        let metadata = fs::symlink_metadata(&path).ok()?;
        if metadata.is_symlink() { fs::read_link(&path).ok() } else { Some(path) }
    }
}

/// Our own directory below `runtime`, if nobody else can be there.
fn private_in(runtime: &Path) -> Option<PathBuf> {
    let own = own_uid().ok()?;
    let is_private = |metadata: &Metadata| {
        metadata.is_dir() && metadata.uid() == own && metadata.mode() & 0o077 == 0
    };
    // Relative ones are to be ignored, says the XDG specification.
    if !runtime.is_absolute() || !fs::metadata(runtime).is_ok_and(|it| is_private(&it)) {
        return None;
    }
    let dir = runtime.join("bitchat");
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return None,
        _ => {}
    }
    fs::symlink_metadata(&dir).is_ok_and(|it| is_private(&it)).then_some(dir)
}

/// Who we are to the kernel, as it tells the other end of a socket.
fn own_uid() -> io::Result<u32> {
    let (one, _other) = UnixStream::pair()?;
    Ok(one.peer_cred()?.uid())
}

/// A socket that clients connect to; its files go with it.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    own_uid: u32,
    place: Place,
    /// The socket's file: device and number.
    file: (u64, u64),
}

impl Socket {
    /// Makes the socket, in the place of what an earlier node may have left there.
    pub(super) fn bind(place: &Place) -> Result<Self, String> {
        let path = &place.socket;
        let shown = path.display();
        SocketAddr::from_pathname(path).map_err(|_| {
            format!(
                "its path is longer than the system allows ({shown}); set XDG_RUNTIME_DIR to a \
                 directory of yours, or choose a shorter one with --data-dir"
            )
        })?;
        let failed = |error: io::Error| format!("{shown}: {error}");
        remove_left_over(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Its directory is private, so nobody was there in between.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        let file = fs::symlink_metadata(path).map_err(failed)?;
        let socket = Self {
            listener,
            own_uid: own_uid().map_err(failed)?,
            place: place.clone(),
            file: (file.dev(), file.ino()),
        };
        if let Some(link) = &place.link {
            remove_left_over(link)?;
            symlink(path, link).map_err(|error| format!("{}: {error}", link.display()))?;
        }
        Ok(socket)
    }

    /// Waits for a client of the same user; others are left without a word.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.own_uid => return Ok(stream),
                Ok(peer) => tracing::warn!(uid = peer.uid(), "another user at the control socket"),
                // It has gone already.
                Err(_) => {}
            }
        }
    }
}

/// Removes what an earlier node left, and nothing else.
fn remove_left_over(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() || found.is_symlink() => {
            fs::remove_file(path).map_err(|error| format!("{shown}: {error}"))
        }
        Ok(_) => Err(format!("{shown} is there and is no socket: move it away")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let is_ours = |found: &Metadata| (found.dev(), found.ino()) == self.file;
        // One that took our place has its own file there.
        if fs::symlink_metadata(&self.place.socket).is_ok_and(|found| is_ours(&found)) {
            let _ = fs::remove_file(&self.place.socket);
            if let Some(link) = &self.place.link {
                let _ = fs::remove_file(link);
            }
        }
    }
}
