//! The history of all processes of a test, and the rules that it must keep.
//!
//! Each process appends one line for each call to its own file, so that a process that is killed leaves all calls that it
//! has finished. The processes run on one machine, so their times can be compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Times are rounded down to microseconds, in the processes and in the server.
const ROUNDING: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The limit admitted the call.
    Admitted,
    /// The work of the key ran. It has the only result with this number.
    Executed(u64),
    /// The caller got the result with this number.
    Answered(u64),
    /// The outcome of the key is unknown to the store.
    Unknown,
}

/// A call that has ended. Times are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) outcome: Outcome,
    /// The name of the limit, or the key.
    pub(crate) of: String,
}

pub(crate) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

impl Call {
    /// A call that ends now.
    pub(crate) fn ended(of: &str, began: u64, outcome: Outcome) -> Self {
        Self { began, ended: now(), outcome, of: of.to_owned() }
    }

    fn line(&self) -> String {
        let Self { began, ended, outcome, of } = self;
        let (word, number) = match outcome {
            Outcome::Admitted => ("admitted", 0),
            Outcome::Executed(number) => ("executed", *number),
            Outcome::Answered(number) => ("answered", *number),
            Outcome::Unknown => ("unknown", 0),
        };
        format!("{began} {ended} {word} {number} {of}\n")
    }
}

impl FromStr for Call {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let parse = |number: &str| number.parse().map_err(|_| format!("not a number in `{line}`"));
        let words: Vec<_> = line.splitn(5, ' ').collect();
        let [began, ended, word, number, of] = words[..] else { return Err(format!("not a call: `{line}`")) };
        let number = parse(number)?;
        let outcome = match word {
            "admitted" => Outcome::Admitted,
            "executed" => Outcome::Executed(number),
            "answered" => Outcome::Answered(number),
            "unknown" => Outcome::Unknown,
            _ => return Err(format!("not an outcome: `{line}`")),
        };
        Ok(Self { began: parse(began)?, ended: parse(ended)?, outcome, of: of.to_owned() })
    }
}

/// The file of this process.
pub(crate) struct Recorder(File);

impl Recorder {
    pub(crate) fn new(path: impl AsRef<Path>) -> Self {
        Self(File::options().create(true).append(true).open(path).unwrap())
    }

    /// Appends a call that ends now, with one write, so that the lines of several threads are not mixed.
    pub(crate) fn note(&self, of: &str, began: u64, outcome: Outcome) {
        (&self.0).write_all(Call::ended(of, began, outcome).line().as_bytes()).unwrap();
    }
}

/// Reads the calls of a process. The last line of a killed process can be incomplete, and is not used.
pub(crate) fn read(path: impl AsRef<Path>) -> Vec<Call> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    lines.map(|line| line.parse().unwrap()).collect()
}

/// How many calls a limit admits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// At once, and for each time of `every` that has passed, `tokens` more.
    pub(crate) burst: u64,
    pub(crate) tokens: u64,
    pub(crate) every: Duration,
    /// Tokens that can be taken before a period begins and used in it. The first period has all tokens, and none of these.
    pub(crate) leased: u64,
}

impl Bound {
    /// One token in each interval, without leases.
    pub(crate) fn bucket(burst: u64, every: Duration) -> Self {
        Self { burst, tokens: 1, every, leased: 0 }
    }

    /// The tokens that are refilled in so many microseconds.
    pub(crate) fn refilled(self, span: u64) -> u64 {
        (span + ROUNDING) / u64::try_from(self.every.as_micros()).unwrap() * self.tokens
    }
}

/// Checks that a limit admitted in every period at most `burst` calls and one call for each token that was
/// refilled in it.
///
/// The store decides about a call between its begin and its end, so the calls count that began and ended in the period.
/// Returns the largest number of calls in a period, without the refilled tokens.
pub(crate) fn check_limit<'a>(
    calls: impl IntoIterator<Item = &'a Call>,
    bound: Bound,
) -> Result<u64, String> {
    let mut largest = 0;
    let mut by_end: Vec<_> = calls.into_iter().filter(|call| call.outcome == Outcome::Admitted).collect();
    by_end.sort_by_key(|call| call.ended);
    let mut begins: Vec<_> = by_end.iter().map(|call| call.began).collect();
    begins.sort_unstable();
    for (number, &from) in begins.iter().enumerate() {
        let extra = if number == 0 { 0 } else { bound.leased };
        let mut count = 0;
        for call in by_end.iter().filter(|call| call.began >= from) {
            count += 1;
            let span = call.ended - from;
            let refilled = bound.refilled(span);
            let most = refilled + bound.burst + extra;
            if count > most {
                let of = &call.of;
                return Err(format!("`{of}` admitted {count} calls in {span} us, at most {most}: {bound:?}"));
            }
            largest = largest.max(count.saturating_sub(refilled));
        }
    }
    Ok(largest)
}

/// Checks that each key was executed at most once, and that no result was lost or changed after a caller got it.
pub(crate) fn check_keys<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Result<(), String> {
    let mut of_key = BTreeMap::<_, Vec<_>>::new();
    calls.into_iter().for_each(|call| of_key.entry(&*call.of).or_default().push(call));
    for (key, calls) in of_key {
        let executed = calls.iter().filter_map(|call| match call.outcome {
            Outcome::Executed(number) => Some(number),
            _ => None,
        });
        let executed: Vec<_> = executed.collect();
        if executed.len() > 1 {
            return Err(format!("key {key} was executed {} times: {executed:?}", executed.len()));
        }
        let mut known_since = u64::MAX;
        for call in &calls {
            let Outcome::Answered(number) = call.outcome else { continue };
            known_since = known_since.min(call.ended);
            if executed != [number] {
                return Err(format!("key {key} has the results {executed:?}, and a caller got {number}"));
            }
        }
        if let Some(lost) = calls.iter().find(|c| c.outcome == Outcome::Unknown && c.began > known_since) {
            return Err(format!("key {key} had a result at {known_since}, and lost it: {lost:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Admitted, Answered, Executed, Unknown};
    use super::*;

    fn call(of: &str, began: u64, ended: u64, outcome: Outcome) -> Call {
        Call { began, ended, outcome, of: of.to_owned() }
    }

    /// Calls that end at these times, in milliseconds, and took 1 ms.
    fn admitted(ends: &[u64]) -> Vec<Call> {
        ends.iter().map(|end| call("api", end * 1000 - 1000, end * 1000, Admitted)).collect()
    }

    const BOUND: Bound = Bound { burst: 3, tokens: 1, every: Duration::from_millis(10), leased: 0 };

    #[test]
    fn one_admission_too_many_is_found_in_every_period() {
        for good in [&[1, 1, 1][..], &[1, 1, 1, 10, 20, 30], &[1, 40, 40, 40, 49]] {
            assert_eq!(check_limit(&admitted(good), BOUND), Ok(3), "{good:?}");
        }
        for bad in [&[1, 1, 1, 1][..], &[1, 1, 1, 9], &[1, 1, 1, 10, 20, 29, 29], &[1, 40, 40, 40, 41]] {
            let found = check_limit(&admitted(bad), BOUND).unwrap_err();
            assert!(found.contains("`api` admitted"), "{found}");
        }
        let mut others = admitted(&[1, 1, 1]);
        others.push(call("api", 0, 1000, Unknown));
        assert_eq!(check_limit(&others, BOUND), Ok(3), "only admissions count");
    }

    #[test]
    fn a_window_refills_all_its_tokens_at_once() {
        let bound = Bound { burst: 2, tokens: 2, every: Duration::from_millis(10), leased: 0 };
        assert_eq!(check_limit(&admitted(&[1, 1, 11, 11, 21, 21]), bound), Ok(2));
        check_limit(&admitted(&[1, 1, 9]), bound).unwrap_err();
        check_limit(&admitted(&[1, 1, 10, 11, 11]), bound).unwrap_err();
    }

    #[test]
    fn a_slow_call_counts_only_in_periods_that_contain_all_of_it() {
        let mut calls = admitted(&[41, 41, 41]);
        calls.push(call("api", 0, 41_000, Admitted));
        assert_eq!(check_limit(&calls, BOUND), Ok(3), "it may have been admitted before");
        calls[3].began = 35_000;
        check_limit(&calls, BOUND).unwrap_err();
    }

    #[test]
    fn leased_tokens_count_in_later_periods_and_not_in_the_first_one() {
        let bound = Bound { leased: 2, ..BOUND };
        assert_eq!(check_limit(&admitted(&[1, 100, 100, 100, 100, 100]), bound), Ok(5));
        check_limit(&admitted(&[1, 100, 100, 100, 100, 100, 100]), bound).unwrap_err();
        check_limit(&admitted(&[1, 1, 1, 1]), bound).unwrap_err();
    }

    #[test]
    fn a_second_execution_a_lost_result_and_a_changed_result_are_found() {
        let good = [
            call("a", 1, 1, Executed(7)),
            call("a", 1, 5, Answered(7)),
            call("a", 3, 8, Answered(7)),
            call("a", 2, 9, Unknown),
            call("b", 6, 6, Executed(8)),
            call("b", 6, 7, Unknown),
        ];
        assert_eq!(check_keys(&good), Ok(()), "the caller of 2 to 9 did not know of the result");
        for (bad, expected) in [
            (call("a", 4, 4, Executed(9)), "key a was executed 2 times"),
            (call("a", 6, 9, Unknown), "key a had a result at 5, and lost it"),
            (call("a", 6, 9, Answered(8)), "key a has the results [7], and a caller got 8"),
            (call("c", 6, 9, Answered(8)), "key c has the results [], and a caller got 8"),
        ] {
            let found = check_keys(good.iter().chain([&bad])).unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn what_a_process_has_noted_is_read_again_without_an_incomplete_line() {
        let path = std::env::temp_dir().join(format!("resilient-history-{}", std::process::id()));
        assert_eq!(read(&path), []);
        let recorder = Recorder::new(&path);
        for outcome in [Admitted, Executed(7), Answered(u64::MAX), Unknown] {
            recorder.note("order 7", 5, outcome);
        }
        (&recorder.0).write_all(b"5 6 admitted 0 ord").unwrap();
        let found = read(&path);
        std::fs::remove_file(&path).unwrap();
        let outcomes: Vec<_> = found.iter().map(|call| call.outcome).collect();
        assert_eq!(outcomes, [Admitted, Executed(7), Answered(u64::MAX), Unknown]);
        assert!(found.iter().all(|call| call.of == "order 7" && call.began == 5 && call.ended > 5));
        for wrong in ["", "1 2 admitted", "1 2 refused 0 api", "1 x admitted 0 api"] {
            wrong.parse::<Call>().unwrap_err();
        }
    }
}
