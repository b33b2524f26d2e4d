//! Argon2id (RFC 9106): keys from what a person can remember.

use dryoc::classic::crypto_pwhash::{PasswordHashAlgorithm, crypto_pwhash};

use super::Secret;

/// Bytes of salt.
pub const SALT_BYTES: usize = 16;

/// What one guess costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Passes over the memory.
    pub passes: u32,
    /// Memory in KiB.
    pub memory_kib: u32,
}

impl Cost {
    /// 64 MiB, two passes: libsodium's "interactive".
    pub const INTERACTIVE: Self = Self { passes: 2, memory_kib: 64 * 1024 };

    /// Accepted from a file, so that a changed header can neither weaken a key nor exhaust memory.
    const PASSES: std::ops::RangeInclusive<u32> = 1..=16;
    const MEMORY_KIB: std::ops::RangeInclusive<u32> = 8 * 1024..=1024 * 1024;
}

/// The cost is outside the accepted range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Argon2id cost outside the accepted range: {} passes, {} KiB", .0.passes, .0.memory_kib)]
pub struct CostError(pub Cost);

/// Stretches `password` to a 32-byte key.
///
/// # Errors
///
/// [`CostError`] when the cost is outside 1 to 16 passes or 8 MiB to 1 GiB.
pub fn stretch(
    password: &[u8],
    salt: &[u8; SALT_BYTES],
    cost: Cost,
) -> Result<Secret<32>, CostError> {
    if !Cost::PASSES.contains(&cost.passes) || !Cost::MEMORY_KIB.contains(&cost.memory_kib) {
        return Err(CostError(cost));
    }
    let mut key = Secret::new([0; 32]);
    crypto_pwhash(
        key.expose_mut(),
        password,
        salt,
        u64::from(cost.passes),
        cost.memory_kib as usize * 1024,
        PasswordHashAlgorithm::Argon2id13,
    )
    .map_err(|_| CostError(cost))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { passes: 1, memory_kib: 8 * 1024 };

    #[test]
    fn password_salt_and_cost_each_change_the_key() {
        let base = stretch(b"correct horse", &[1; 16], CHEAP).unwrap();
        assert_eq!(base, stretch(b"correct horse", &[1; 16], CHEAP).unwrap());
        assert_ne!(base, stretch(b"correct Horse", &[1; 16], CHEAP).unwrap());
        assert_ne!(base, stretch(b"correct horse", &[2; 16], CHEAP).unwrap());
        let dearer = Cost { passes: 2, ..CHEAP };
        assert_ne!(base, stretch(b"correct horse", &[1; 16], dearer).unwrap());
    }

    #[test]
    fn a_cost_that_would_exhaust_memory_is_refused() {
        let greedy = Cost { passes: 1, memory_kib: u32::MAX };
        assert_eq!(stretch(b"x", &[1; 16], greedy), Err(CostError(greedy)));
    }
}
