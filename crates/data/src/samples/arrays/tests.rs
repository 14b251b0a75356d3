//! Tests of the array readers.
