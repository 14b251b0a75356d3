//! Folders of image files: with a folder for each class, or flat.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::samples::SamplesError;
use crate::samples::images::{Picture, Pictures, decode};

/// Endings of the files that are taken for images, in any case.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Whether the file's name says that it is an image.
pub(crate) fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// What a folder holds, in sorted order; hidden files and folders are left aside.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub folders: Vec<PathBuf>,
    pub files: Vec<PathBuf>,
}

/// Lists a folder. Symbolic links are followed.
pub(crate) fn list(folder: &Path) -> Result<Listing, SamplesError> {
    let mut listing = Listing::default();
    let entries = std::fs::read_dir(folder).map_err(SamplesError::io(folder, "list the folder"))?;
    for entry in entries {
        let path = entry.map_err(SamplesError::io(folder, "list the folder"))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        let metadata = std::fs::metadata(&path).map_err(SamplesError::io(&path, "look at the file"))?;
        let kind = if metadata.is_dir() { &mut listing.folders } else { &mut listing.files };
        kind.push(path);
    }
    listing.folders.sort();
    listing.files.sort();
    Ok(listing)
}

/// Image files in a fixed order: by class, then by name.
#[derive(Debug)]
pub(crate) struct Files {
    folders: Vec<PathBuf>,
    /// The folder, by position, and the name of each file.
    files: Vec<(u32, OsString)>,
    labels: Option<Vec<u32>>,
    class_names: Option<Vec<String>>,
    /// How many other files lie among the images, and one of them.
    pub ignored: (usize, Option<PathBuf>),
}

impl Files {
    /// The images right in `folder`, without labels.
    pub fn flat(folder: &Path, listing: &Listing) -> Files {
        let mut files = Files {
            folders: vec![folder.to_owned()],
            files: Vec::new(),
            labels: None,
            class_names: None,
            ignored: (0, None),
        };
        files.add(0, &listing.files);
        files
    }

    /// The images in the folders of `listing`, each of which is a class. Labels are positions in
    /// `classes`, or else in the sorted names of the folders.
    pub fn by_class(
        path: &Path,
        listing: &Listing,
        classes: Option<&[String]>,
    ) -> Result<Files, SamplesError> {
        let refuse = |path: &Path, problem: &str, hint| {
            Err(SamplesError::Folder { path: path.to_owned(), problem: problem.to_owned(), hint })
        };
        let name = |folder: &Path| folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names: Vec<String> = match classes {
            Some(classes) => classes.to_vec(),
            None => listing.folders.iter().map(|folder| name(folder)).collect(),
        };
        let mut files = Files {
            folders: listing.folders.clone(),
            files: Vec::new(),
            labels: None,
            class_names: None,
            ignored: (0, None),
        };
        let mut labels = Vec::new();
        for (position, folder) in listing.folders.iter().enumerate() {
            let class = name(folder);
            let Some(label) = names.iter().position(|known| *known == class) else {
                return Err(SamplesError::Folder {
                    path: folder.clone(),
                    problem: format!("is not among the {} class names that were given", names.len()),
                    hint: "name the folder as its class, or add the class",
                });
            };
            let inside = list(folder)?;
            if let Some(nested) = inside.folders.first() {
                let deeper = list(nested)?.files.iter().any(|file| is_image(file));
                let problem = "is a folder within the folder of a class; expected images";
                let hint = if deeper && !inside.files.iter().any(|file| is_image(file)) {
                    "give the folder that holds the classes, such as its train or val"
                } else {
                    "move its images into the folder of the class"
                };
                return refuse(nested, problem, hint);
            }
            let before = files.files.len();
            files.add(position as u32, &inside.files);
            if files.files.len() == before {
                let problem = "the folder of a class has no image (.png, .jpg, .jpeg)";
                return refuse(folder, problem, "add images of the class, or take the folder out");
            }
            labels.resize(files.files.len(), label as u32);
        }
        if files.files.is_empty() {
            return refuse(path, "there is no class with images", "give a folder for each class");
        }
        files.labels = Some(labels);
        files.class_names = Some(names);
        Ok(files)
    }

    fn add(&mut self, folder: u32, files: &[PathBuf]) {
        for file in files {
            if is_image(file) {
                self.files.push((folder, file.file_name().unwrap_or_default().to_owned()));
            } else {
                self.ignored.0 += 1;
                self.ignored.1.get_or_insert_with(|| file.clone());
            }
        }
    }

    /// Empty when there is no such image.
    fn path(&self, index: usize) -> PathBuf {
        let place = self.files.get(index).and_then(|(folder, name)| {
            let folder = self.folders.get(*folder as usize)?;
            Some(folder.join(name))
        });
        place.unwrap_or_default()
    }
}

impl Pictures for Files {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn picture(&self, index: usize, gray: bool) -> Result<Picture, SamplesError> {
        decode::decode(&self.path(index), gray)
    }

    fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    fn name(&self, index: usize) -> String {
        self.path(index).display().to_string()
    }
}
