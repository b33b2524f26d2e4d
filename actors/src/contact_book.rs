//! The people we know and how far we trust their keys.
