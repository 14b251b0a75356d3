//! Statistics to decision to QDQ graph.
