//! Opens the profile that the flags name, and makes it at the first start.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use bitchat_actors::vault::{Found, Passphrase, Profile, ProfileError};
use zeroize::Zeroizing;

use crate::cli::Global;
use crate::exit::{Exit, Failure};
use crate::output::talk;
use crate::paths;

/// Longest passphrase read; a file given by mistake does not fill memory.
const PASSPHRASE_BYTES_MAX: u64 = 4096;

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        let exit = match error {
            ProfileError::InUse { .. } => Exit::InUse,
            ProfileError::BadName(_)
            | ProfileError::PassphraseNeeded(_)
            | ProfileError::NotSealed(_)
            | ProfileError::WrongPassphrase(_)
            | ProfileError::WrongExportPassphrase { .. } => Exit::Usage,
            ProfileError::Exposed { .. } => Exit::Configuration,
            ProfileError::Missing { .. }
            | ProfileError::Exists { .. }
            | ProfileError::Damaged { .. }
            | ProfileError::BadExport { .. }
            | ProfileError::Newer { .. }
            | ProfileError::Disk { .. } => Exit::Failed,
        };
        let mut text = error.to_string();
        if matches!(error, ProfileError::PassphraseNeeded(_)) {
            text += "; where there is no terminal to ask, give it with --passphrase-file FILE or \
                     --passphrase-fd N";
        }
        Self::new(exit, text)
    }
}

/// Opens the profile, or makes it when there is none, and says so.
///
/// # Errors
///
/// A [`Failure`] when it cannot be opened or made, or its passphrase is missing or wrong.
pub fn open(global: &Global) -> Result<Profile, Failure> {
    let data_dir = data_dir(global)?;
    let name = &global.profile;
    match Profile::find(&data_dir, name)? {
        Found::Plain => {
            let given = given_passphrase(global)?;
            Ok(Profile::open(&data_dir, name, given.as_ref())?)
        }
        Found::Sealed => {
            let passphrase = match given_passphrase(global)? {
                Some(passphrase) => passphrase,
                None => ask(&format!("passphrase of profile {name}: "))?
                    .ok_or_else(|| ProfileError::PassphraseNeeded(name.clone()))?,
            };
            Ok(Profile::open(&data_dir, name, Some(&passphrase))?)
        }
        Found::Nothing => {
            let passphrase = given_passphrase(global)?;
            let profile = Profile::create(&data_dir, name, None, passphrase.as_ref())?;
            talk(format_args!(
                "made profile {name} in {}; your id is {}",
                profile.dir().display(),
                profile.peer_id(),
            ));
            Ok(profile)
        }
    }
}

/// The directory that profiles are in.
///
/// # Errors
///
/// A [`Failure`] when no flag names it and there is no home directory.
pub fn data_dir(global: &Global) -> Result<PathBuf, Failure> {
    global.data_dir.clone().or_else(paths::data_dir).ok_or_else(|| {
        let text = "there is no home directory; say where profiles are with --data-dir DIR";
        Failure::new(Exit::Configuration, text)
    })
}

/// The passphrase that the flags point to, if they do.
fn given_passphrase(global: &Global) -> Result<Option<Passphrase>, Failure> {
    let path = match (&global.passphrase_file, global.passphrase_fd) {
        (Some(path), _) => path.clone(),
        (None, Some(fd)) => PathBuf::from(format!("/dev/fd/{fd}")),
        (None, None) => return Ok(None),
    };
    passphrase_in(&path).map(Some)
}

/// The passphrase in the first line of a file.
///
/// # Errors
///
/// A [`Failure`] when the file cannot be read or its first line is empty or too long.
pub fn passphrase_in(path: &Path) -> Result<Passphrase, Failure> {
    let failed = |error| {
        Failure::usage(format!("cannot read the passphrase from {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(failed)?;
    let mut line = Zeroizing::new(Vec::new());
    BufReader::new(file.take(PASSPHRASE_BYTES_MAX + 1))
        .read_until(b'\n', &mut line)
        .map_err(failed)?;
    if line.len() as u64 > PASSPHRASE_BYTES_MAX {
        // Half of it would seal the profile under something that nobody can type.
        let path = path.display();
        let text = format!("the first line of {path} has more than {PASSPHRASE_BYTES_MAX} bytes");
        return Err(Failure::usage(text));
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    let empty = |_| Failure::usage(format!("the first line of {} is empty", path.display()));
    Passphrase::new(line).map_err(empty)
}

/// Asks a person without showing what is typed; `None` when there is nobody to ask.
///
/// # Errors
///
/// A [`Failure`] when the terminal cannot be read.
pub fn ask(prompt: &str) -> Result<Option<Passphrase>, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let typed = rpassword::prompt_password(prompt)
        .map_err(|error| Failure::failed(format!("cannot read the passphrase: {error}")))?;
    let typed = Zeroizing::new(typed.into_bytes());
    Ok(Passphrase::new(typed).ok())
}
