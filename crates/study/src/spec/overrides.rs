//! What the command line changes in a specification.

use std::collections::BTreeMap;

use super::check::value;
use super::{Spec, SpecError};
use crate::cell::{Framework, TUNINGS, VARIANTS, tuning_name, variant_name};

/// What the command line changes in a specification.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Float epochs.
    pub epochs: Option<usize>,
    /// QAT epochs.
    pub qat_epochs: Option<usize>,
    /// Only these frameworks.
    pub frameworks: Option<Vec<String>>,
    /// Only these variants.
    pub variants: Option<Vec<String>>,
    /// Only these tunings.
    pub tunings: Option<Vec<String>>,
    /// Other seeds.
    pub seeds: Option<Vec<u64>>,
}

impl Spec {
    /// The specification with what the command line changes.
    ///
    /// # Errors
    /// [`SpecError::Value`] for a name that is not known or a number that cannot be meant.
    pub fn with(mut self, overrides: &Overrides) -> Result<Spec, SpecError> {
        let origin = "the command line";
        let absent = |key: &str, flag: &str| {
            value(
                origin,
                flag,
                format!("nothing, since the study has no [{key}]"),
                "a number",
                "leave it out",
            )
        };
        if let Some(epochs) = overrides.epochs {
            self.train.as_mut().ok_or_else(|| absent("train", "--epochs"))?.epochs = epochs;
        }
        if let Some(epochs) = overrides.qat_epochs {
            self.qat.as_mut().ok_or_else(|| absent("qat", "--qat-epochs"))?.epochs = epochs;
        }
        if let Some(seeds) = &overrides.seeds {
            self.seeds.clone_from(seeds);
        }
        if let Some(names) = &overrides.frameworks {
            let mut frameworks = BTreeMap::new();
            for name in names {
                let framework = Framework::from_name(name).ok_or_else(|| {
                    let all = Framework::ALL.map(Framework::name).join(", ");
                    value(origin, "--frameworks", format!("one of {all}"), name, "separate several by commas")
                })?;
                let paths = self.frameworks.get(&framework).cloned().ok_or_else(|| {
                    value(
                        origin,
                        "--frameworks",
                        "a framework of the study",
                        name,
                        "add it to [frameworks] of the study",
                    )
                })?;
                frameworks.insert(framework, paths);
            }
            self.frameworks = frameworks;
        }
        if let Some(names) = &overrides.variants {
            self.variants =
                chosen("--variants", names, &VARIANTS.map(|variant| (variant, variant_name(variant))))?;
        }
        if let Some(names) = &overrides.tunings {
            self.tunings = chosen("--tunings", names, &TUNINGS.map(|tuning| (tuning, tuning_name(tuning))))?;
        }
        self.check(origin)?;
        Ok(self)
    }
}

/// The values of those names.
fn chosen<T: Copy>(flag: &str, names: &[String], all: &[(T, &str)]) -> Result<Vec<T>, SpecError> {
    let known = || all.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    let find = |name: &String| {
        let found = all.iter().find(|(_, known)| known == name).map(|(value, _)| *value);
        found.ok_or_else(|| {
            value("the command line", flag, format!("one of {}", known()), name, "separate several by commas")
        })
    };
    names.iter().map(find).collect()
}
