//! Every way to store every type gives the same bytes, and data that do not fit their shape are refused.
