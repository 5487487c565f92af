//! The 64-bit FNV-1a hash.

/// Returns the Fowler-Noll-Vo hash of `text`. It is stable between runs, so names that contain it are, too.
pub(crate) fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
