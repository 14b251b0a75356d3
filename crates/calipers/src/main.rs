//! The `calipers` command.

fn main() {}
