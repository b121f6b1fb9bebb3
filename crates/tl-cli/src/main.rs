//! The command line, `tl`.

fn main() {}
