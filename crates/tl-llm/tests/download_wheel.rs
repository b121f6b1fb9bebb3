//! The real default model, by the code that a first `chat` runs: some source must have it, and its hash holds.
//!
//! `TL_TEST_OFFLINE=1` leaves this out and says so.

use std::io::Write;

use tl_llm::catalogue::Catalogue;
use tl_llm::download::{FetchOptions, resolve};

/// Whether tests that need the network are to be left out; says how many of them.
fn left_out(tests: usize) -> bool {
    let offline = std::env::var_os("TL_TEST_OFFLINE").is_some_and(|value| !value.is_empty() && value != "0");
    if offline {
        // Not by `eprintln!`, which the test harness keeps to itself when a test passes.
        let _ = writeln!(std::io::stderr(), "left out (TL_TEST_OFFLINE): {tests} tests");
    }
    offline
}

#[test]
fn the_default_model_can_be_had() {
    if left_out(1) {
        return;
    }
    let entry = Catalogue::get().default_entry();
    let mut options = FetchOptions::from_env().unwrap();
    let path = resolve(&entry.name, &options, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Some(std::fs::metadata(&path).unwrap().len()), entry.size);
    // From the cache now, without asking anyone, and hashed again.
    options.offline = true;
    options.pythons.clear();
    options.verify = true;
    assert_eq!(resolve(&entry.name, &options, &mut |_| {}).unwrap_or_else(|error| panic!("{error}")), path);
}
