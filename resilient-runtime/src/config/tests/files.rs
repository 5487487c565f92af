//! Watching a file while it changes, with real files and system notifications.

use std::time::Instant;

use super::*;
use crate::observe::{EventKind, Subscription};

/// Waits for the next time that settings are applied or refused.
#[allow(clippy::disallowed_methods)] // the system takes real time to report changes
fn next(events: &mut Subscription) -> Result<(), String> {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        match events.try_recv().map(|event| event.what) {
            Some(EventKind::SettingsApplied { .. }) => return Ok(()),
            Some(EventKind::SettingsRefused { problem }) => return Err(problem),
            Some(_) => {}
            None => {
                assert!(Instant::now() < patience, "no event within 20 s");
                std::thread::yield_now();
            }
        }
    }
}

fn limit(registry: &Registry) -> u32 {
    registry.bulkhead("b").stats().limit
}

fn content(limit: u32) -> String {
    format!("[bulkhead.b]\nmax_concurrent = {limit}\n")
}

#[test]
fn a_file_is_watched_however_it_is_written() {
    // T118
    let folder = Folder::new();
    let path = folder.write("resilient.toml", content(1));
    let registry = registry();
    let mut events = registry.subscribe();
    let watch = ConfigFile::new(&path).variables(NONE).watch(&registry).unwrap();
    assert_eq!((next(&mut events), limit(&registry)), (Ok(()), 1));

    folder.write("resilient.toml", content(2));
    assert_eq!((next(&mut events), limit(&registry)), (Ok(()), 2), "written in place");

    let new = folder.write(".resilient.toml.swp", content(3));
    fs::rename(new, &path).unwrap();
    assert_eq!((next(&mut events), limit(&registry)), (Ok(()), 3), "replaced, as by editors");

    folder.write("resilient.toml", "[bulkhead.b]\nmax_concurrent = 0\n");
    assert!(next(&mut events).unwrap_err().contains("max_concurrent"));
    assert_eq!(limit(&registry), 3, "the last valid settings stay");

    fs::remove_file(&path).unwrap();
    assert!(next(&mut events).unwrap_err().contains("cannot be read"));
    folder.write("resilient.toml", content(4));
    assert_eq!((next(&mut events), limit(&registry)), (Ok(()), 4), "the next valid content is applied");

    drop(watch);
    folder.write("resilient.toml", content(5));
    assert_eq!(limit(&registry), 4, "the file is no longer watched");
}

#[cfg(unix)]
#[test]
fn symbolic_links_swapped_by_kubernetes_are_followed() {
    use std::os::unix::fs::symlink;

    // The layout of a ConfigMap by the kubelet: resilient.toml -> ..data/resilient.toml, ..data -> ..1
    let folder = Folder::new();
    let version = |number: u32| {
        let data = folder.0.join(format!("..{number}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("resilient.toml"), content(number)).unwrap();
        let swap = folder.0.join("..data_tmp");
        symlink(format!("..{number}"), &swap).unwrap();
        fs::rename(swap, folder.0.join("..data")).unwrap();
        if number > 1 {
            fs::remove_dir_all(folder.0.join(format!("..{}", number - 1))).unwrap();
        }
    };
    version(1);
    let path = folder.0.join("resilient.toml");
    symlink("..data/resilient.toml", &path).unwrap();
    let registry = registry();
    let mut events = registry.subscribe();
    let _watch = ConfigFile::new(&path).variables(NONE).watch(&registry).unwrap();
    for number in 1..=4 {
        if number > 1 {
            version(number);
        }
        while limit(&registry) != number {
            // In between, the old file can be gone and the new one not there yet.
            let _ = next(&mut events);
        }
    }
}

#[test]
fn a_file_that_is_invalid_at_the_start_is_not_watched() {
    let (_folder, file) = file("x");
    assert!(file.watch(&registry()).is_err());
}
