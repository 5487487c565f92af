//! Watches a file while the program runs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{ConfigFile, LoadError, Target};
use crate::clock::Clock;

/// Wait until changes pause for this long: editors and Kubernetes write in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// Read the file after this time even if the folder keeps changing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Read the file this often, for network file systems that do not report changes.
const LOOK: Duration = Duration::from_secs(5);

impl ConfigFile {
    /// Applies the file, and again after each change of its content.
    pub(crate) fn watch_for(self, target: &impl Target) -> Result<FileWatch, LoadError> {
        let text = self.read();
        let seen = digest(&text);
        self.apply_text(target, text)?;
        let (sender, receiver) = mpsc::channel();
        let watcher = watcher(self.path(), sender.clone());
        let follower = Follower { file: self, target: target.clone(), seen };
        let cannot = |error: std::io::Error, path: PathBuf| {
            LoadError::whole(&path, format!("cannot start a thread to watch the file: {error}"))
        };
        let path = follower.file.path().to_owned();
        let thread = std::thread::Builder::new().name("resilient-config".into());
        let thread = thread.spawn(move || follower.follow(&receiver)).map_err(|error| cannot(error, path))?;
        Ok(FileWatch { sender, thread: Some(thread), watcher })
    }
}

/// Watches a file until it is dropped.
///
/// ```
/// use resilient_runtime::{Registry, config::{ConfigFile, FileWatch}};
///
/// let watched: Result<FileWatch, _> = ConfigFile::new("/no/such/file.toml").watch(&Registry::new());
/// assert!(watched.is_err(), "the file must be valid at the start");
/// ```
#[derive(Debug)]
#[must_use = "the file is watched until this is dropped"]
pub struct FileWatch {
    sender: Sender<FileChange>,
    thread: Option<JoinHandle<()>>,
    /// `None` if the system cannot report changes. In that case the thread polls the file.
    watcher: Option<RecommendedWatcher>,
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // Drop the watcher before the thread ends: it holds a sender of the channel.
        self.watcher = None;
        let _ = self.sender.send(FileChange::End);
        if let Some(thread) = self.thread.take() {
            // The thread waits for nothing else. A panic has already been reported.
            let _ = thread.join();
        }
    }
}

enum FileChange {
    Changed,
    End,
}

fn watcher(path: &Path, sender: Sender<FileChange>) -> Option<RecommendedWatcher> {
    let changed = move |event: notify::Result<Event>| {
        // An error can hide a change.
        if event.as_ref().map_or(true, is_change) {
            // The receiver ends with the watch.
            let _ = sender.send(FileChange::Changed);
        }
    };
    let mut watcher = notify::recommended_watcher(changed).ok()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let begun = watcher.watch(folder, RecursiveMode::NonRecursive);
    if let Err(error) = &begun {
        tracing::warn!(target: "resilient_runtime::config", %error, "cannot watch the folder; polling the file instead");
    }
    begun.is_ok().then_some(watcher)
}

/// Returns whether an event can mean a change. Reading the file is not a change.
fn is_change(event: &Event) -> bool {
    !matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

struct Follower<T> {
    file: ConfigFile,
    target: T,
    /// The digest of the last text read.
    seen: u64,
}

impl<T: Target> Follower<T> {
    fn follow(mut self, receiver: &Receiver<FileChange>) {
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(FileChange::Changed) => {
                    if !is_quiet(receiver) {
                        return;
                    }
                }
                Ok(FileChange::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.look();
        }
    }

    fn look(&mut self) {
        let text = self.file.read();
        let now = digest(&text);
        if now != self.seen {
            self.seen = now;
            // `apply_text` has reported any error.
            let _ = self.file.apply_text(&self.target, text);
        }
    }
}

/// Waits until changes pause, but not longer than [`PATIENCE`]. Returns false if the watch ends.
fn is_quiet(receiver: &Receiver<FileChange>) -> bool {
    // Use the system clock, whatever clock the registry has: file operations take real time.
    let clock = Clock::system();
    let began = clock.now();
    while clock.now().since(began) < PATIENCE {
        match receiver.recv_timeout(QUIET) {
            Ok(FileChange::Changed) => {}
            Ok(FileChange::End) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    true
}

/// Returns a digest of the text or of the error, to detect changes.
fn digest(text: &Result<String, LoadError>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match text {
        Ok(text) => text.hash(&mut hasher),
        Err(error) => error.to_string().hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn reading_the_file_is_not_a_change() {
        let access = |kind| is_change(&Event::new(EventKind::Access(kind)));
        assert!(!access(AccessKind::Open(AccessMode::Any)) && !access(AccessKind::Close(AccessMode::Read)));
        assert!(access(AccessKind::Close(AccessMode::Write)), "a writer has finished");
        assert!(is_change(&Event::new(EventKind::Modify(notify::event::ModifyKind::Any))));
        assert!(is_change(&Event::new(EventKind::Any)));
    }

    #[test]
    fn the_file_is_read_even_if_the_folder_keeps_changing() {
        let (sender, receiver) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let busy = std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                if sender.send(FileChange::Changed).is_err() {
                    break;
                }
            }
        });
        assert!(is_quiet(&receiver));
        drop(stop);
        busy.join().unwrap();
    }
}
