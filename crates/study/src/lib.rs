//! The experiment: spec to cells to records to report.
