//! `bitchat profile`: all that there is of a profile, in one file.

use std::path::{Path, PathBuf};

use actix::Actor as _;
use bitchat_actors::archive::{Archive, ArchiveError, CopyTo};
use bitchat_actors::vault::{Found, Profile, ProfileError};
use clap::Subcommand;
use serde_json::json;

use super::id::ask_twice;
use super::{Context, ask};
use crate::exit::{Exit, Failure};
use crate::output::talk;
use crate::profile;

/// The copy of the archive while an export is made.
const COPY: &str = "archive.export";

/// `bitchat profile ...`
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Write identity, contacts, channels and all that was said to one file, under a passphrase
    Export {
        /// The file; it must not be there yet
        file: PathBuf,
        /// File whose first line is the passphrase of the export, instead of typing it
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Make a profile of such a file, where there is none of the name
    Import {
        /// The file
        file: PathBuf,
        /// File whose first line is the passphrase of the export, instead of typing it
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
}

/// Does it.
pub(super) fn run(command: &ProfileCommand, context: &Context) -> Result<(), Failure> {
    match command {
        ProfileCommand::Export { file, secret_file } => {
            export(file, secret_file.as_deref(), context)
        }
        ProfileCommand::Import { file, secret_file } => {
            import(file, secret_file.as_deref(), context)
        }
    }
}

fn export(file: &Path, secret_file: Option<&Path>, context: &Context) -> Result<(), Failure> {
    let (data_dir, name) = (profile::data_dir(&context.global)?, &context.global.profile);
    if Profile::find(&data_dir, name)? == Found::Nothing {
        return Err(ProfileError::Missing { name: name.clone(), data_dir }.into());
    }
    let profile = profile::open(&context.global)?;
    let secret = match secret_file {
        Some(file) => profile::passphrase_in(file)?,
        None => ask_twice("say --secret-file FILE")?,
    };
    let copy = Copy::of(&profile)?;
    profile.export(&copy.0, &secret, file)?;
    let path = file.display().to_string();
    talk("whoever has this file and its passphrase is you: keep both as you keep your keys");
    context.output.data(&path, &json!({"file": path, "id": profile.peer_id().to_string()}))
}

/// A consistent copy of the archive, gone when this is.
struct Copy(PathBuf);

impl Copy {
    fn of(profile: &Profile) -> Result<Self, Failure> {
        let copy = Self(profile.dir().join(COPY));
        // Left over from one that was killed.
        drop(std::fs::remove_file(&copy.0));
        actix_rt::System::new().block_on(async {
            let failed = |error: ArchiveError| Failure::failed(error.to_string());
            let archive = Archive::open(profile).map_err(failed)?.start();
            ask(archive.send(CopyTo { path: copy.0.clone() })).await?.map_err(failed)
        })?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn import(file: &Path, secret_file: Option<&Path>, context: &Context) -> Result<(), Failure> {
    let (data_dir, name) = (profile::data_dir(&context.global)?, &context.global.profile);
    if Profile::find(&data_dir, name)? != Found::Nothing {
        let text = format!(
            "profile {name} is there already; import into another one with --profile NAME, or into \
             another directory with --data-dir DIR"
        );
        return Err(Failure::new(Exit::Failed, text));
    }
    let secret = match secret_file {
        Some(file) => profile::passphrase_in(file)?,
        None => profile::ask("passphrase of the export: ")?.ok_or_else(|| {
            Failure::usage("the passphrase of the export is needed: say --secret-file FILE")
        })?,
    };
    Profile::import(&data_dir, name, file, &secret)?;
    let dir = data_dir.join(name).display().to_string();
    let is_sealed = Profile::find(&data_dir, name)? == Found::Sealed;
    if is_sealed {
        talk(
            "it is sealed with the passphrase of the export; `bitchat id passphrase` changes that",
        );
    }
    context.output.data(
        format!("made profile {name} in {dir}"),
        &json!({"profile": dir, "sealed": is_sealed}),
    )
}
