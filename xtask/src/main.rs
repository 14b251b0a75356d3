//! Project chores: tests, house rules, golden refresh.

fn main() {}
