//! Follows a file while the program runs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{ConfigFile, LoadError, Target};
use crate::clock::Clock;

/// Editors and Kubernetes write in several steps.
const QUIET: Duration = Duration::from_millis(50);
/// In a folder in which there is always something new, the file is looked at nevertheless.
const PATIENCE: Duration = Duration::from_secs(1);
/// Where nobody tells of changes, as on some network file systems.
const LOOK: Duration = Duration::from_secs(5);

impl ConfigFile {
    /// Puts the file in force, and again whenever its content has changed.
    pub(crate) fn watch_for(self, target: &impl Target) -> Result<FileWatch, LoadError> {
        let text = self.read();
        let seen = digest(&text);
        self.apply_text(target, text)?;
        let (tell, told) = mpsc::channel();
        let watcher = watcher(self.path(), tell.clone());
        let follower = Follower { file: self, target: target.clone(), seen };
        let cannot = |error: std::io::Error, path: PathBuf| {
            LoadError::whole(&path, format!("no thread can be had to watch it: {error}"))
        };
        let path = follower.file.path().to_owned();
        let thread = std::thread::Builder::new().name("resilient-config".into());
        let thread = thread.spawn(move || follower.follow(&told)).map_err(|error| cannot(error, path))?;
        Ok(FileWatch { tell, thread: Some(thread), watcher })
    }
}

/// Follows a file as long as it lives.
///
/// ```
/// use resilient_runtime::{Registry, config::{ConfigFile, FileWatch}};
///
/// let watched: Result<FileWatch, _> = ConfigFile::new("/no/such/file.toml").watch(&Registry::new());
/// assert!(watched.is_err(), "there is nothing good to begin with");
/// ```
#[derive(Debug)]
#[must_use = "the file is followed until this is dropped"]
pub struct FileWatch {
    tell: Sender<FileChange>,
    thread: Option<JoinHandle<()>>,
    /// `None` where the system has no way to tell: then the thread looks.
    watcher: Option<RecommendedWatcher>,
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // Before the thread: it would hold the other end of the channel open.
        self.watcher = None;
        let _ = self.tell.send(FileChange::End);
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but us. If it panicked, that was told.
            let _ = thread.join();
        }
    }
}

enum FileChange {
    Changed,
    End,
}

fn watcher(path: &Path, tell: Sender<FileChange>) -> Option<RecommendedWatcher> {
    let changed = move |event: notify::Result<Event>| {
        // What cannot be told may have been a change.
        if event.as_ref().map_or(true, is_change) {
            // The receiver goes with the last watch.
            let _ = tell.send(FileChange::Changed);
        }
    };
    let mut watcher = notify::recommended_watcher(changed).ok()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let begun = watcher.watch(folder, RecursiveMode::NonRecursive);
    if let Err(error) = &begun {
        tracing::warn!(target: "resilient_runtime::config", %error, "changes are not told, and looked for");
    }
    begun.is_ok().then_some(watcher)
}

/// Not to have been looked at, which is what a look at the file does.
fn is_change(event: &Event) -> bool {
    !matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

struct Follower<T> {
    file: ConfigFile,
    target: T,
    /// The digest of what was read last.
    seen: u64,
}

impl<T: Target> Follower<T> {
    fn follow(mut self, told: &Receiver<FileChange>) {
        loop {
            match told.recv_timeout(LOOK) {
                Ok(FileChange::Changed) => {
                    if !is_quiet(told) {
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
            // What is wrong was told.
            let _ = self.file.apply_text(&self.target, text);
        }
    }
}

/// Waits until nothing more changes, but not longer than [`PATIENCE`]; false at the end.
fn is_quiet(told: &Receiver<FileChange>) -> bool {
    // Of the system, whatever clock the registry has: it is files that take their time.
    let clock = Clock::system();
    let began = clock.now();
    while clock.now().since(began) < PATIENCE {
        match told.recv_timeout(QUIET) {
            Ok(FileChange::Changed) => {}
            Ok(FileChange::End) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    true
}

/// Of the content, or of why there is none: to tell what has changed.
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
    fn to_read_the_file_is_no_change_of_it() {
        let access = |kind| is_change(&Event::new(EventKind::Access(kind)));
        assert!(!access(AccessKind::Open(AccessMode::Any)) && !access(AccessKind::Close(AccessMode::Read)));
        assert!(access(AccessKind::Close(AccessMode::Write)), "a writer that is done");
        assert!(is_change(&Event::new(EventKind::Modify(notify::event::ModifyKind::Any))));
        assert!(is_change(&Event::new(EventKind::Any)));
    }

    #[test]
    fn a_folder_that_is_never_quiet_does_not_keep_the_file_from_being_read() {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let busy = std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                if tell.send(FileChange::Changed).is_err() {
                    break;
                }
            }
        });
        assert!(is_quiet(&told));
        drop(stop);
        busy.join().unwrap();
    }
}
