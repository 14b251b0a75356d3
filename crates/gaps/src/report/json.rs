//! The document itself: JSON with one line for each cell, so that two runs can be compared by any tool that compares lines.

use serde_json::Value;

use super::Report;

/// The report as JSON.
pub fn json(report: &Report) -> String {
    // A report has no maps but those with names as keys, and no numbers that JSON lacks.
    let Ok(Value::Object(fields)) = serde_json::to_value(report) else { return String::new() };
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| match value {
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let items: Vec<String> = items.iter().map(|item| format!("    {item}")).collect();
                format!("  \"{name}\": [\n{}\n  ]", items.join(",\n"))
            }
            other => format!("  \"{name}\": {other}"),
        })
        .collect();
    format!("{{\n{}\n}}\n", fields.join(",\n"))
}

#[cfg(test)]
mod tests {
    use crate::report::tests::small;

    #[test]
    fn what_is_written_is_read_and_cells_have_lines_of_their_own() {
        let report = small();
        let text = super::json(&report);
        assert_eq!(serde_json::from_str::<crate::Report>(&text).unwrap(), report);
        let cells = text.lines().filter(|line| line.starts_with("    {\"framework\":")).count();
        assert!(cells >= report.cells.len(), "{cells}");
    }
}
