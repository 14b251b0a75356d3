//! Runs a graph on this CPU.
