//! Where a quantized model goes: checked before anything is done, written aside, put in place as a whole.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Message;

/// The place of an output file.
#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    folder: PathBuf,
    name: PathBuf,
}

/// A folder beside the output whose files are not there yet as far as anybody else is concerned. Whatever ends the
/// command, they go with it.
#[derive(Debug)]
pub struct Staging<'a> {
    destination: &'a Destination,
    folder: TempDir,
}

impl Destination {
    /// Checks that `output` can be written and is not `model`.
    pub fn new(model: &Path, output: &Path) -> Result<Destination, Message> {
        let shown = output.display();
        let ending = output.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let name = match (ending.as_deref(), output.file_name()) {
            (Some("onnx"), Some(name)) => PathBuf::from(name),
            (Some("tflite"), _) => {
                return Err(format!(
                    "{shown}: TFLite is read and not yet written\nhint: write to a .onnx file"
                ));
            }
            (Some(_) | None, _) => {
                return Err(format!("{shown}: expected the name of a .onnx file to write\nhint: add .onnx"));
            }
        };
        let folder = match output.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        if !folder.is_dir() {
            return Err(format!(
                "{shown}: there is no folder {}\nhint: make it, or write to another one",
                folder.display()
            ));
        }
        if output.is_dir() {
            return Err(format!("{shown}: is a folder; expected the name of a file to write"));
        }
        if let (Ok(a), Ok(b)) = (fs::canonicalize(model), fs::canonicalize(output))
            && a == b
        {
            return Err(format!(
                "{shown}: is the model itself, which would be lost\nhint: give another name with -o"
            ));
        }
        let destination = Destination { path: output.to_owned(), folder, name };
        // Now, and not after the calibration.
        destination.stage()?;
        Ok(destination)
    }

    /// The file that will be there.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new folder for the output and what goes beside it.
    pub fn stage(&self) -> Result<Staging<'_>, Message> {
        let prefix = format!(".{}.", self.name.display());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(&self.folder).map_err(|error| {
            format!(
                "{}: cannot write into this folder: {error}\nhint: look at its permissions and at the room on the disk",
                self.folder.display()
            )
        })?;
        Ok(Staging { destination: self, folder })
    }
}

impl Staging<'_> {
    /// Where the model is written.
    pub fn model(&self) -> PathBuf {
        self.folder.path().join(&self.destination.name)
    }

    /// Moves every file to its place, the model last, and returns their paths.
    pub fn commit(self) -> Result<Vec<PathBuf>, Message> {
        let io = |error: std::io::Error| {
            format!("{}: cannot be put in place: {error}", self.destination.path.display())
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(self.folder.path()).map_err(io)? {
            files.push(PathBuf::from(entry.map_err(io)?.file_name()));
        }
        files.sort_by_key(|file| (*file == self.destination.name, file.clone()));
        for file in &files {
            fs::rename(self.folder.path().join(file), self.destination.folder.join(file)).map_err(io)?;
        }
        files.reverse();
        Ok(files.iter().map(|file| self.destination.path.with_file_name(file)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Destination;

    #[test]
    fn what_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("model.onnx"), b"").unwrap();
        fs::create_dir(at("folder.onnx")).unwrap();
        for (output, expected) in [
            ("model.onnx", "is the model itself"),
            ("folder.onnx/../model.onnx", "is the model itself"),
            ("folder.onnx", "is a folder"),
            ("missing/out.onnx", "there is no folder"),
            ("out.tflite", "TFLite is read and not yet written"),
            ("out", "expected the name of a .onnx file"),
        ] {
            let error = Destination::new(&at("model.onnx"), &at(output)).unwrap_err();
            assert!(error.contains(expected), "{output}: {error}");
        }
    }

    #[test]
    fn files_appear_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let names = || {
            let mut names: Vec<_> =
                fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let destination = Destination::new(&at("model.onnx"), &at("out.onnx")).unwrap();
        assert!(names().is_empty());
        let staging = destination.stage().unwrap();
        fs::write(staging.model(), b"1").unwrap();
        drop(staging);
        assert!(names().is_empty());
        let staging = destination.stage().unwrap();
        fs::write(staging.model(), b"2").unwrap();
        fs::write(staging.model().with_extension("recipe.json"), b"3").unwrap();
        assert_eq!(staging.commit().unwrap(), [at("out.onnx"), at("out.recipe.json")]);
        assert_eq!(names(), ["out.onnx", "out.recipe.json"]);
    }
}
