//! Sequences in files, when they are written over and over and the writer may be stopped at any time.

use std::path::PathBuf;

use tl_llm::prompt_cache::{load, save};

use crate::every_memory;
use crate::made_up::Numbers;
use crate::models::tiny;

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tl-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it() {
    let folder = folder("saved");
    let path = folder.join("prompt.seq");
    for (memory, generator) in every_memory(&tiny(), 3, 4096) {
        let _ = std::fs::remove_file(&path);
        assert!(load(&generator, &path).unwrap().is_none());
        for len in [100, 7] {
            let mut session = generator.session();
            session.feed(&Numbers::new(1).ids(len, 5)).unwrap();
            save(&session, &path).unwrap();
            let read = load(&generator, &path).unwrap().unwrap();
            assert_eq!((read.tokens(), read.logits()), (session.tokens(), session.logits()), "{memory}");
        }
        let names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["prompt.seq"], "{memory}");
        // One that can't be written leaves the old one.
        assert!(save(&generator.session(), &folder.join("none/prompt.seq")).is_err());
    }
    std::fs::remove_dir_all(folder).unwrap();
}
