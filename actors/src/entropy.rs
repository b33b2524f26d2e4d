//! The only place of this crate that reads the entropy of the operating system.

/// Makes a seed of 32 bytes for one machine or one secret.
///
/// # Panics
///
/// When the operating system has no entropy to give: no key could be trusted then.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the place that reads entropy")]
pub fn seed() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives entropy");
    bytes
}

#[cfg(test)]
mod tests {
    use super::seed;

    #[test]
    fn no_two_seeds_are_equal() {
        assert_ne!(seed(), seed());
    }
}
