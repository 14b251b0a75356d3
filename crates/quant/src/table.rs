//! What calibration found: statistics by value name.

use calipers_ir::{Tensor, TensorError};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{Document, Observer, ObserverKind, QuantError};

/// The statistics of every value that is to be quantized, by name, in the order of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationTable {
    /// Version of this document.
    pub version: u32,
    /// Name of the graph that was run.
    pub graph: String,
    /// Batches that were run.
    pub batches: u64,
    /// Samples in them: the sum of the first extents of the batches.
    pub samples: u64,
    /// Statistics by value name.
    pub values: IndexMap<String, Observer>,
}

impl CalibrationTable {
    /// A table of observers that have seen nothing.
    pub fn new(graph: &str, wanted: impl IntoIterator<Item = (String, ObserverKind)>) -> Self {
        CalibrationTable {
            version: Self::VERSION,
            graph: graph.to_owned(),
            batches: 0,
            samples: 0,
            values: wanted.into_iter().map(|(name, kind)| (name, Observer::new(kind))).collect(),
        }
    }

    /// Takes in one tensor of a value. Values that are not in the table are ignored.
    ///
    /// # Errors
    /// An element that is not finite, named, or a tensor that is not f32.
    pub fn observe(&mut self, value: &str, tensor: &Tensor) -> Result<(), QuantError> {
        let Some(observer) = self.values.get_mut(value) else {
            return Ok(());
        };
        let data = tensor.elements::<f32>().map_err(|error: TensorError| QuantError::Assignment {
            place: format!("value `{value}`"),
            expected: String::from("f32 while calibrating"),
            found: error.to_string(),
        })?;
        observer.observe(&data).map_err(|at| QuantError::NotFinite {
            value: value.to_owned(),
            tensor: observer.tensors,
            index: at.index,
            found: at.found,
        })
    }

    /// Takes in a table of other batches of the same graph and recipe.
    ///
    /// # Errors
    /// A value that only one of the tables has, or whose observers do not merge.
    pub fn merge(&mut self, other: &CalibrationTable) -> Result<(), QuantError> {
        let only_in_one = |value: &String| QuantError::Merge {
            value: value.clone(),
            reason: String::from("only one of the two tables has it; merge tables of one graph and recipe"),
        };
        if let Some(value) = other.values.keys().find(|value| !self.values.contains_key(*value)) {
            return Err(only_in_one(value));
        }
        let mut merged = self.values.clone();
        for (value, observer) in &mut merged {
            let other = other.values.get(value).ok_or_else(|| only_in_one(value))?;
            observer.merge(other).map_err(|reason| QuantError::Merge { value: value.clone(), reason })?;
        }
        self.values = merged;
        self.batches += other.batches;
        self.samples += other.samples;
        Ok(())
    }
}

impl Document for CalibrationTable {
    const KIND: &'static str = "calibration table";
    const SUFFIX: &'static str = "calibration.json";
    const VERSION: u32 = 2;

    fn version(&self) -> u32 {
        self.version
    }

    fn check(&self) -> Result<(), QuantError> {
        let broken = self.values.iter().find_map(|(value, observer)| {
            let range = observer.range.filter(|range| !(range.is_finite() && range.min <= range.max))?;
            Some((value, range))
        });
        match broken {
            None => Ok(()),
            Some((value, range)) => Err(QuantError::Assignment {
                place: format!("calibration table, value `{value}`"),
                expected: String::from("a range of finite numbers, the smallest first"),
                found: format!("[{}, {}]", range.min, range.max),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use calipers_ir::Tensor;

    use super::CalibrationTable;
    use crate::{Document, ObserverKind, QuantError};

    fn table() -> CalibrationTable {
        let wanted = [
            (String::from("a"), ObserverKind::MinMax),
            (String::from("b"), ObserverKind::MovingAverage { constant: 0.01 }),
        ];
        CalibrationTable::new("g", wanted)
    }

    #[test]
    fn json_keeps_every_bit() {
        let mut table = table();
        let tensor = Tensor::from_vec([3], vec![0.1f32, -1.000_000_1e-30, 3.402_823_5e38]).unwrap();
        table.observe("a", &tensor).unwrap();
        table.observe("not wanted", &tensor).unwrap();
        table.batches = 1;
        let read = CalibrationTable::from_json(&table.to_json().unwrap()).unwrap();
        assert_eq!(read, table);
        assert_eq!(read.values["a"].range.unwrap().min.to_bits(), (-1.000_000_1e-30f32).to_bits());
        assert_eq!(read.values["b"].range, None);
    }

    #[test]
    fn errors_name_the_value() {
        let mut table = table();
        table.observe("b", &Tensor::scalar(1.0f32)).unwrap();
        let error = table.observe("b", &Tensor::from_vec([2], vec![0.0, f32::NAN]).unwrap()).unwrap_err();
        assert!(
            error.to_string().starts_with("value `b`: element 1 of calibration tensor 1 is NaN"),
            "{error}"
        );
        let mut other = table.clone();
        other.values["b"].kind = ObserverKind::MinMax;
        assert!(matches!(table.merge(&other), Err(QuantError::Merge { value, .. }) if value == "b"));
    }

    #[test]
    fn other_versions_and_keys_are_refused() {
        let json = table().to_json().unwrap();
        let newer = json.replace("\"version\": 2", "\"version\": 3");
        assert_eq!(
            CalibrationTable::from_json(&newer).unwrap_err().to_string(),
            "calibration table: version 3 is not supported, expected 2"
        );
        let mut table = table();
        table.observe("a", &Tensor::scalar(2.5f32)).unwrap();
        let broken = table.to_json().unwrap().replace("\"max\": 2.5", "\"max\": 1e300");
        let message = CalibrationTable::from_json(&broken).unwrap_err().to_string();
        assert!(message.contains("number out of range"), "{message}");
        let odd = json.replace("\"samples\"", "\"sample\"");
        assert!(
            CalibrationTable::from_json(&odd).unwrap_err().to_string().contains("unknown field `sample`")
        );
    }
}
