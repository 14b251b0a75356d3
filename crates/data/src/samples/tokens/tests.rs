//! Tests of the token reader.
