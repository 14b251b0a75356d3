//! Token files.
