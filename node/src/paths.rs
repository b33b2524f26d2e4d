//! Where things are on this machine (XDG base directories).

use std::path::PathBuf;

use etcetera::BaseStrategy as _;

/// The directory of the user's settings; `None` without a home directory.
#[must_use]
pub fn config_dir() -> Option<PathBuf> {
    etcetera::choose_base_strategy().ok().map(|base| base.config_dir().join("bitchat"))
}

/// The directory under which profiles live; `None` without a home directory.
#[must_use]
pub fn data_dir() -> Option<PathBuf> {
    etcetera::choose_base_strategy().ok().map(|base| base.data_dir().join("bitchat"))
}
