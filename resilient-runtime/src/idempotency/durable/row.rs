//! A record as bytes: `checksum, over, fingerprint, state, [length of operation, operation,] ..`, numbers in
//! little-endian order. Rows of format 1 have no operation.

use super::super::record::{Record, State};
use crate::store::idempotency::{Fingerprint, Owner};

/// States in format 1.
const CLAIMED: u8 = 1;
const DONE: u8 = 2;
/// States with an operation.
const CLAIMED_BY: u8 = 3;
const DONE_BY: u8 = 4;

pub(super) fn write(key: &str, record: &Record) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes.extend(record.over.to_le_bytes());
    bytes.extend(record.fingerprint.0.to_le_bytes());
    let operation = record.operation.as_bytes();
    // No function path is longer. A truncated operation still differs from most others.
    let length = u16::try_from(operation.len()).unwrap_or(u16::MAX);
    bytes.push(if record.answered().is_some() { DONE_BY } else { CLAIMED_BY });
    bytes.extend(length.to_le_bytes());
    bytes.extend(&operation[..usize::from(length)]);
    match &record.state {
        State::Claimed { owner, until } => {
            bytes.extend(owner.0.to_le_bytes());
            bytes.extend(until.to_le_bytes());
        }
        State::Done(answer) => bytes.extend(answer),
    }
    let sum = checksum(key, &bytes[8..]);
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Returns `None` if the bytes are damaged.
pub(super) fn read(key: &str, bytes: &[u8]) -> Option<Record> {
    let mut rest = bytes;
    let sum = u64::from_le_bytes(take(&mut rest)?);
    if sum != checksum(key, rest) {
        return None;
    }
    let over = u64::from_le_bytes(take(&mut rest)?);
    let fingerprint = Fingerprint(u128::from_le_bytes(take(&mut rest)?));
    let [state] = take(&mut rest)?;
    let operation = match state {
        CLAIMED_BY | DONE_BY => {
            let (operation, left) = {
                let length = u16::from_le_bytes(take(&mut rest)?);
                rest.split_at_checked(length.into())?
            };
            rest = left;
            String::from_utf8_lossy(operation).into_owned()
        }
        _ => String::new(),
    };
    let state = match state {
        CLAIMED | CLAIMED_BY => State::Claimed {
            owner: Owner(u128::from_le_bytes(take(&mut rest)?)),
            until: u64::from_le_bytes(take(&mut rest)?),
        },
        DONE | DONE_BY => State::Done(rest.to_owned()),
        _ => return None,
    };
    Some(Record { fingerprint, operation: operation.into(), state, over, client: None })
}

/// Reads when the record expires, without reading the rest of it.
pub(super) fn over(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

/// redb verifies its own checksums when the file is opened. This one is verified on each read: a damaged record must
/// not look like a missing one.
fn checksum(key: &str, bytes: &[u8]) -> u64 {
    let Fingerprint(sum) = Fingerprint::of(&(key, bytes));
    u64::try_from(sum & u128::from(u64::MAX)).unwrap_or(0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn intact_records_are_read_back_and_damaged_ones_are_not() {
        let claimed = State::Claimed { owner: Owner(7 << 100), until: 12 };
        for state in [claimed, State::Done(Vec::new()), State::Done(b"{\"ok\":1}".to_vec())] {
            let (fingerprint, operation) = (Fingerprint(u128::MAX - 1), "shop::charge".into());
            let record = Record { fingerprint, operation, state, over: 99, client: None };
            let bytes = write("key", &record);
            assert_eq!(read("key", &bytes).as_ref(), Some(&record));
            assert_eq!(over(&bytes), Some(99));
            assert_eq!(read("other", &bytes), None);
            for at in 0..bytes.len() {
                assert_eq!(read("key", &bytes[..at]), None, "truncated at {at}");
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert_eq!(read("key", &damaged), None, "byte {at}");
            }
        }
    }

    /// Rows written by the version before format 2: (key, row).
    pub(in crate::idempotency::durable) const FORM_1: [(&str, &str); 3] = [
        (
            "pay\0done",
            "9d09299b585cf41400409452a303000001000000000000000000000000000000\
             027b226f6b223a7b226e756d626572223a312c2263656e7473223a3939357d7d",
        ),
        (
            "pay\0float",
            "72e1fdc55a789c4700409452a303000001000000000000000000000000000000\
             027b226f6b223a313139332e383235353030303030303030317d",
        ),
        (
            "pay\0claimed",
            "14e848cc0363afe400409452a303000001000000000000000000000000000000\
             0100000000000000000000000070000000005ed0b200000000",
        ),
    ];

    pub(in crate::idempotency::durable) fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn rows_of_format_1_are_read() {
        let read = |at: usize| read(FORM_1[at].0, &bytes(FORM_1[at].1)).unwrap();
        assert_eq!(read(0).state, State::Done(br#"{"ok":{"number":1,"cents":995}}"#.to_vec()));
        assert_eq!(read(1).state, State::Done(br#"{"ok":1193.8255000000001}"#.to_vec()));
        assert_eq!(read(2).state, State::Claimed { owner: Owner(7 << 100), until: 3_000_000_000 });
        assert!((0..3).all(|at| read(at).operation.is_empty()), "format 1 has no operation");
    }
}
