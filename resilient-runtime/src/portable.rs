//! Hashes that are equal on every machine, so that instances of a service can share them.

/// Methods of a [`Hasher`](std::hash::Hasher) that do not depend on the byte order and the word size of the machine. The
/// other methods for numbers call these.
macro_rules! portable_numbers {
    () => {
        fn write_u16(&mut self, number: u16) {
            self.write(&number.to_le_bytes());
        }

        fn write_u32(&mut self, number: u32) {
            self.write(&number.to_le_bytes());
        }

        fn write_u64(&mut self, number: u64) {
            self.write(&number.to_le_bytes());
        }

        fn write_u128(&mut self, number: u128) {
            self.write(&number.to_le_bytes());
        }

        fn write_usize(&mut self, number: usize) {
            self.write_u64(number as u64);
        }
    };
}
pub(crate) use portable_numbers;
