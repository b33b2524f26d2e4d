//! The channels of this profile, and which of them are open now.
