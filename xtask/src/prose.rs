//! Searches every text of the repository for phrases that readers find hard.
//!
//! The phrases are in `xtask/prose/words.txt`, the accepted exceptions in `xtask/prose/allowed.txt`.

use std::path::Path;
use std::process::Command;

use crate::run::root;

const WORDS: &str = include_str!("../prose/words.txt");
const ALLOWED: &str = include_str!("../prose/allowed.txt");

/// The kinds of files that people read.
const EXTENSIONS: [&str; 10] = ["rs", "md", "html", "js", "mjs", "css", "toml", "yml", "json", "py"];

/// Files that another task generates, and files of other projects.
const SKIPPED: [&str; 7] = [
    "benches/RESULTS.md",
    "docs/settings.md",
    "resilient.schema.json",
    "package-lock.json",
    "/uplot.",
    "xtask/prose/",
    "xtask/src/prose.rs",
];

/// A phrase to avoid.
struct Phrase {
    words: &'static str,
    starts_sentence: bool,
    instead: &'static str,
}

/// An accepted occurrence: part of a paragraph of one file.
struct Exception {
    file: &'static str,
    text: &'static str,
}

/// Consecutive lines of prose, joined by spaces.
struct Paragraph {
    line: usize,
    text: String,
}

/// Fails and lists the places if a file contains a phrase of the list.
pub(crate) fn check() -> Result<(), String> {
    let phrases = phrases(WORDS);
    let exceptions = exceptions(ALLOWED);
    let mut unused = vec![true; exceptions.len()];
    let mut found = 0;
    for file in files()? {
        let text = std::fs::read_to_string(root().join(&file)).map_err(|error| format!("{file}: {error}"))?;
        for paragraph in paragraphs(&text, is_markdown(&file)) {
            for phrase in phrases.iter().filter(|phrase| phrase.is_in(&paragraph.text)) {
                let accepted = exceptions
                    .iter()
                    .position(|exception| exception.file == file && paragraph.text.contains(exception.text));
                if let Some(accepted) = accepted {
                    unused[accepted] = false;
                    continue;
                }
                found += 1;
                println!("{file}:{}: `{}` -> {}", paragraph.line, phrase.words, phrase.instead);
                println!("    {}", phrase.excerpt(&paragraph.text));
            }
        }
    }
    let unused = exceptions.iter().zip(unused).filter(|(_, unused)| *unused);
    let unused: Vec<&Exception> = unused.map(|(exception, _)| exception).collect();
    for Exception { file, text } in &unused {
        println!("xtask/prose/allowed.txt: no longer needed: {file}: {text}");
    }
    if found == 0 && unused.is_empty() {
        return Ok(());
    }
    Err(format!("{found} phrases to rewrite, {} exceptions to delete", unused.len()))
}

/// The tracked files that people read, relative to the repository.
fn files() -> Result<Vec<String>, String> {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output();
    let listed = listed.map_err(|error| format!("git ls-files: {error}"))?;
    if !listed.status.success() {
        return Err(String::from_utf8_lossy(&listed.stderr).into_owned());
    }
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let is_read = |file: &&str| {
        let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
            && !SKIPPED.iter().any(|skipped| file.contains(skipped))
    };
    let exists = |file: &&str| root().join(file).exists();
    Ok(listed.lines().filter(is_read).filter(exists).map(str::to_owned).collect())
}

fn is_markdown(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "md")
}

fn phrases(list: &'static str) -> Vec<Phrase> {
    let rows = list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let phrase = |(words, instead): (&'static str, &'static str)| match words.strip_prefix('^') {
        Some(words) => Phrase { words, starts_sentence: true, instead },
        None => Phrase { words, starts_sentence: false, instead },
    };
    rows.map(phrase).collect()
}

fn exceptions(list: &'static str) -> Vec<Exception> {
    let rows = list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": "));
    rows.map(|(file, text)| Exception { file, text: text.trim() }).collect()
}

impl Phrase {
    fn is_in(&self, text: &str) -> bool {
        self.position(text).is_some()
    }

    /// The first occurrence as whole words.
    fn position(&self, text: &str) -> Option<usize> {
        let lower = text.to_ascii_lowercase();
        let starts = lower.match_indices(self.words).map(|(start, _)| start);
        let is_word = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
        starts
            .filter(|start| {
                let before = &text[..*start];
                let after = &text[start + self.words.len()..];
                let is_whole = !before.ends_with(is_word) && !after.starts_with(is_word);
                let starts_sentence = !self.starts_sentence
                    || (text[*start..].starts_with(char::is_uppercase) && ends_sentence(before));
                is_whole && starts_sentence && !is_quoted(before, after)
            })
            .find(|start| !(self.starts_sentence && is_question(&text[*start..])))
    }

    /// The text around the first occurrence.
    fn excerpt(&self, text: &str) -> String {
        let position = self.position(text).unwrap_or(0);
        let start = text[..position].char_indices().rev().nth(50).map_or(0, |(start, _)| start);
        text[start..].chars().take(120).collect()
    }
}

/// Whether a sentence can begin after this text: at the start of a paragraph, a string or a table cell, or after punctuation.
fn ends_sentence(before: &str) -> bool {
    if before.is_empty() || before.ends_with(['"', '|', '`', '>']) {
        return true;
    }
    let end = before.trim_end_matches([' ', '*', '(']);
    end.len() < before.len() && (end.is_empty() || end.ends_with(['.', ':', '!', '?', '|', '-', '#']))
}

/// Whether the words between are code.
fn is_quoted(before: &str, after: &str) -> bool {
    before.ends_with('`') && after.starts_with('`')
}

/// Whether the sentence that begins here is a question: `What does it cost?`
fn is_question(sentence: &str) -> bool {
    let end = sentence.find(". ").unwrap_or(sentence.len());
    sentence[..end].find('?').is_some_and(|mark| sentence[..end].find('|').is_none_or(|cell| mark < cell))
}

/// Comment lines and lines of Markdown that follow each other are one paragraph; every other line is its own.
fn paragraphs(text: &str, is_markdown: bool) -> Vec<Paragraph> {
    let mut all: Vec<Paragraph> = Vec::new();
    let mut continues = None;
    for (index, line) in text.lines().enumerate() {
        let (kind, line) = prose(line, is_markdown);
        let starts_item = line.starts_with("- ") || line.starts_with("* ") || line.starts_with(['|', '#']);
        let is_first = kind.is_none() || continues != kind || line.is_empty() || starts_item;
        match all.last_mut() {
            Some(last) if !is_first => {
                last.text.push(' ');
                last.text.push_str(line);
            }
            // A line of code starts no sentence, but a string in it can.
            _ if kind.is_none() => all.push(Paragraph { line: index + 1, text: format!("= {line}") }),
            _ => all.push(Paragraph { line: index + 1, text: line.to_owned() }),
        }
        continues = if line.is_empty() { None } else { kind };
    }
    all
}

/// The text of a line without its comment marker, and the marker if the next line can continue it.
fn prose(line: &str, is_markdown: bool) -> (Option<&'static str>, &str) {
    let line = line.trim();
    if is_markdown {
        return (Some(""), line);
    }
    for marker in ["///", "//!", "//", "#"] {
        if let Some(text) = line.strip_prefix(marker) {
            return (Some(marker), text.trim());
        }
    }
    (None, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &'static str, text: &str, is_markdown: bool) -> Vec<(usize, &'static str)> {
        let mut all = Vec::new();
        for paragraph in paragraphs(text, is_markdown) {
            let phrases = phrases(list).into_iter().filter(|phrase| phrase.is_in(&paragraph.text));
            all.extend(phrases.map(|phrase| (paragraph.line, phrase.words)));
        }
        all
    }

    #[test]
    fn a_phrase_is_found_across_two_comment_lines() {
        let text = "fn a() {}\n    /// The caller is\n    /// told the reason.\n";
        assert_eq!(found("is told = is reported\n", text, false), [(2, "is told")]);
    }

    #[test]
    fn a_phrase_is_found_in_a_string_and_not_inside_a_word() {
        assert_eq!(found("nor = and does not\n", "let a = \"this nor that\";", false), [(1, "nor")]);
        assert_eq!(found("nor = and does not\n", "let minor = normal(nor_gate);", false), []);
    }

    #[test]
    fn a_sentence_start_is_found_only_at_the_start_of_a_sentence() {
        let list = "^of = subject first\n";
        assert_eq!(found(list, "/// Of two calls one runs.", false), [(1, "of")]);
        assert_eq!(found(list, "// It ends. Of two calls one runs.", false), [(1, "of")]);
        assert_eq!(found(list, "- Of two calls one runs.", true), [(1, "of")]);
        assert_eq!(found(list, "let text = \"Of two calls one runs.\";", false), [(1, "of")]);
        assert_eq!(found(list, "/// The end of two calls. Often it works.", false), []);
        assert_eq!(found(list, "Of,\nPosition::Of(two)", false), []);
    }

    #[test]
    fn a_question_and_quoted_code_are_no_sentence_starts() {
        assert_eq!(found("^what = name the thing\n", "What does it cost? Little.", true), []);
        assert_eq!(found("whom = name\n", "Do not write `whom`.", true), []);
    }

    #[test]
    fn every_row_of_the_list_is_read() {
        let rows = WORDS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
        assert_eq!(phrases(WORDS).len(), rows);
        assert!(phrases(WORDS).iter().all(|phrase| phrase.words == phrase.words.to_ascii_lowercase()));
    }
}
