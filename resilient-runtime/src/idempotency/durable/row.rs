//! A record as bytes: `checksum, over, fingerprint, state, ..`, numbers with the least byte first.

use super::super::record::{Record, State};
use super::super::store::{Fingerprint, Owner};

const CLAIMED: u8 = 1;
const DONE: u8 = 2;

pub(super) fn write(key: &str, record: &Record) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes.extend(record.over.to_le_bytes());
    bytes.extend(record.fingerprint.0.to_le_bytes());
    match &record.state {
        State::Claimed { owner, until } => {
            bytes.push(CLAIMED);
            bytes.extend(owner.0.to_le_bytes());
            bytes.extend(until.to_le_bytes());
        }
        State::Done(answer) => {
            bytes.push(DONE);
            bytes.extend(answer);
        }
    }
    let sum = checksum(key, &bytes[8..]);
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// `None` if it is not as it was written.
pub(super) fn read(key: &str, bytes: &[u8]) -> Option<Record> {
    let mut rest = bytes;
    let sum = u64::from_le_bytes(take(&mut rest)?);
    if sum != checksum(key, rest) {
        return None;
    }
    let over = u64::from_le_bytes(take(&mut rest)?);
    let fingerprint = Fingerprint(u128::from_le_bytes(take(&mut rest)?));
    let [state] = take(&mut rest)?;
    let state = match state {
        CLAIMED => State::Claimed {
            owner: Owner(u128::from_le_bytes(take(&mut rest)?)),
            until: u64::from_le_bytes(take(&mut rest)?),
        },
        DONE => State::Done(rest.to_owned()),
        _ => return None,
    };
    Some(Record { fingerprint, state, over, client: None })
}

/// When the record is over, without a look at all of it.
pub(super) fn over(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

/// The file has checksums of its own, which are read after a crash. These are read each time: a record that was damaged
/// must be told from one that is not there.
fn checksum(key: &str, bytes: &[u8]) -> u64 {
    let Fingerprint(sum) = Fingerprint::of(&(key, bytes));
    u64::try_from(sum & u128::from(u64::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written_and_else_not() {
        let claimed = State::Claimed { owner: Owner(7 << 100), until: 12 };
        for state in [claimed, State::Done(Vec::new()), State::Done(b"{\"ok\":1}".to_vec())] {
            let record = Record { fingerprint: Fingerprint(u128::MAX - 1), state, over: 99, client: None };
            let bytes = write("key", &record);
            assert_eq!(read("key", &bytes).as_ref(), Some(&record));
            assert_eq!(over(&bytes), Some(99));
            assert_eq!(read("other", &bytes), None);
            for at in 0..bytes.len() {
                assert_eq!(read("key", &bytes[..at]), None, "cut off");
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert_eq!(read("key", &damaged), None, "byte {at}");
            }
        }
    }
}
