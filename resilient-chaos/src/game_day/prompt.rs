//! Questions to the people of a game day.

use std::future::Future;
use std::io::BufRead;
use std::pin::Pin;

/// A question between two acts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Question {
    /// The text.
    pub text: String,
    /// Whether the answer can skip the act that follows.
    pub can_skip: bool,
}

/// The answer to a [`Question`].
///
/// ```
/// use resilient_chaos::game_day::{Answer, Choice};
///
/// let answer = Answer::new(Choice::Continue).note("ada", "the pager rang after 10 s");
/// assert_eq!(answer.notes.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// How it goes on.
    pub choice: Choice,
    /// Notes for the journal, each with its author.
    pub notes: Vec<(String, String)>,
}

/// How a game day goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// With the next act.
    Continue,
    /// With the act after the next one.
    Skip,
    /// It ends now.
    Stop,
}

impl Answer {
    /// Creates an answer without notes.
    ///
    /// ```
    /// use resilient_chaos::game_day::{Answer, Choice};
    ///
    /// assert!(Answer::new(Choice::Stop).notes.is_empty());
    /// ```
    pub const fn new(choice: Choice) -> Self {
        Self { choice, notes: Vec::new() }
    }

    /// Adds a note.
    ///
    /// ```
    /// use resilient_chaos::game_day::{Answer, Choice};
    ///
    /// let answer = Answer::new(Choice::Continue).note("ada", "no alert");
    /// assert_eq!(answer.notes[0].1, "no alert");
    /// ```
    pub fn note(mut self, by: &str, text: &str) -> Self {
        self.notes.push((by.to_owned(), text.to_owned()));
        self
    }
}

/// Asks the people of a game day.
pub trait Prompt: Send {
    /// Shows a text, without waiting.
    fn show(&mut self, text: &str);

    /// Asks a question and waits for the answer.
    fn ask<'a>(&'a mut self, question: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;
}

/// Continues at once, for tests and continuous integration. Prints what it would ask.
///
/// ```
/// let mut prompt = resilient_chaos::game_day::Unattended::quiet();
/// # let _ = &mut prompt;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Unattended {
    prints: bool,
}

impl Unattended {
    /// Prints everything to standard output.
    ///
    /// ```
    /// let prompt = resilient_chaos::game_day::Unattended::printing();
    /// # let _ = prompt;
    /// ```
    pub const fn printing() -> Self {
        Self { prints: true }
    }

    /// Prints nothing.
    ///
    /// ```
    /// let prompt = resilient_chaos::game_day::Unattended::quiet();
    /// # let _ = prompt;
    /// ```
    pub const fn quiet() -> Self {
        Self { prints: false }
    }
}

impl Prompt for Unattended {
    fn show(&mut self, text: &str) {
        if self.prints {
            println!("{text}");
        }
    }

    fn ask<'a>(&'a mut self, question: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        self.show(&question.text);
        Box::pin(async { Answer::new(Choice::Continue) })
    }
}

/// Asks on the terminal: each line is a note, and an empty line continues.
///
/// A line `skip` skips the next act, and `stop` or the end of the input ends the game day. A line `ada: text` is a note
/// of that person.
///
/// ```
/// let prompt = resilient_chaos::game_day::Terminal::default();
/// # let _ = prompt;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal;

impl Prompt for Terminal {
    fn show(&mut self, text: &str) {
        println!("{text}");
    }

    fn ask<'a>(&'a mut self, question: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        let skip = if question.can_skip { ", `skip` skips it" } else { "" };
        println!(
            "\n{}\n(each line is a note; an empty line continues{skip}, `stop` ends the game day)",
            question.text
        );
        Box::pin(async {
            let read = tokio::task::spawn_blocking(|| answer(std::io::stdin().lock()));
            read.await.unwrap_or_else(|_| Answer::new(Choice::Stop))
        })
    }
}

/// Reads an answer line by line.
fn answer(input: impl BufRead) -> Answer {
    const LONGEST: usize = 2000;
    let mut answer = Answer::new(Choice::Stop);
    for line in input.lines() {
        let Ok(line) = line else { return answer };
        let line = line.trim();
        answer.choice = match line {
            "" => Choice::Continue,
            "skip" => Choice::Skip,
            "stop" => Choice::Stop,
            _ => {
                let named = line.split_once(": ").filter(|(by, _)| by.len() <= 32 && !by.contains(' '));
                let (by, text) = named.unwrap_or(("team", line));
                answer = answer.note(by, &text.chars().take(LONGEST).collect::<String>());
                continue;
            }
        };
        return answer;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_notes_until_an_empty_line() {
        let read = answer(&b"the pager rang\nada: after 10 s\n\nlater\n"[..]);
        assert_eq!(
            read,
            Answer::new(Choice::Continue).note("team", "the pager rang").note("ada", "after 10 s")
        );
        assert_eq!(answer(&b"skip\n"[..]).choice, Choice::Skip);
        assert_eq!(answer(&b"note\nstop\n"[..]).choice, Choice::Stop);
        assert_eq!(answer(&b""[..]).choice, Choice::Stop, "the end of the input must not start faults");
        assert_eq!(answer(&b"\xff\xfe\n"[..]).choice, Choice::Stop);
    }
}
