//! The 64-bit FNV-1a hash.

/// The hash of Fowler, Noll and Vo: stable between runs, so that what is named by it keeps its name.
pub(crate) fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
