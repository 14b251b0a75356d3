//! JSON documents with a version: recipes, calibration tables and assignments as text and as files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::QuantError;

/// Something that is saved as JSON beside a model.
pub trait Document: Serialize + DeserializeOwned {
    /// What it is called in errors.
    const KIND: &'static str;
    /// What is added to a model's file name: `<model>.<suffix>`.
    const SUFFIX: &'static str;
    /// The version that this program writes and reads.
    const VERSION: u32;

    /// The version of this document.
    fn version(&self) -> u32;

    /// What is wrong with a document that parses.
    ///
    /// # Errors
    /// The first rule that it breaks.
    fn check(&self) -> Result<(), QuantError> {
        Ok(())
    }

    /// Indented JSON with a newline at the end, one change a line.
    ///
    /// # Errors
    /// A number that JSON cannot say.
    fn to_json(&self) -> Result<String, QuantError> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| QuantError::Json { what: Self::KIND.to_owned(), error })?;
        Ok(json + "\n")
    }

    /// Reads what [`Document::to_json`] writes. Unknown keys are refused.
    ///
    /// # Errors
    /// Where the text is no such document, or is of another version.
    fn from_json(json: &str) -> Result<Self, QuantError> {
        parse(Self::KIND, json)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`Document::from_json`], with the path.
    fn load(path: &Path) -> Result<Self, QuantError> {
        let json =
            fs::read_to_string(path).map_err(|error| QuantError::Io { path: path.to_owned(), error })?;
        parse(&format!("{} {}", Self::KIND, path.display()), &json)
    }

    /// Writes a file under a temporary name and renames it.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn save(&self, path: &Path) -> Result<(), QuantError> {
        let json = self.to_json()?;
        let io = |error| QuantError::Io { path: path.to_owned(), error };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Made as any other file is: a temporary file of the library's own could be read by its owner alone.
        let mut file =
            tempfile::Builder::new().make_in(folder, |path| fs::File::create_new(path)).map_err(io)?;
        file.write_all(json.as_bytes()).map_err(io)?;
        file.persist(path).map_err(|error| io(error.error))?;
        Ok(())
    }

    /// Where the document of a model file stands: `model.onnx` has its recipe in `model.recipe.json`.
    fn path_beside(model: &Path) -> PathBuf {
        model.with_extension(Self::SUFFIX)
    }
}

fn parse<T: Document>(what: &str, json: &str) -> Result<T, QuantError> {
    let error = |error| QuantError::Json { what: what.to_owned(), error };
    // The version decides what the other keys mean, so it is looked at first.
    let value: serde_json::Value = serde_json::from_str(json).map_err(error)?;
    if let Some(found) = value.get("version").and_then(serde_json::Value::as_u64)
        && found != u64::from(T::VERSION)
    {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(QuantError::Version { what: what.to_owned(), expected: T::VERSION, found });
    }
    let document: T = serde_json::from_str(json).map_err(error)?;
    document.check()?;
    Ok(document)
}
