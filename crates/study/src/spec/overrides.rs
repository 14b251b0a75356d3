//! What the command line changes in a specification.

use std::collections::BTreeMap;

use super::check::value;
use super::{Spec, SpecError};
use crate::cell::{Framework, VARIANTS, variant_name};

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
        if let Some(epochs) = overrides.epochs {
            self.train.epochs = epochs;
        }
        if let Some(epochs) = overrides.qat_epochs {
            self.qat.epochs = epochs;
        }
        if let Some(seeds) = &overrides.seeds {
            self.seeds.clone_from(seeds);
        }
        if let Some(names) = &overrides.frameworks {
            let mut frameworks = BTreeMap::new();
            for name in names {
                let framework = Framework::from_name(name).ok_or_else(|| {
                    value(
                        origin,
                        "--frameworks",
                        "one of pytorch, tensorflow, calipers",
                        name,
                        "separate several by commas",
                    )
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
            self.variants = names
                .iter()
                .map(|name| {
                    VARIANTS.into_iter().find(|&variant| variant_name(variant) == name).ok_or_else(|| {
                        let all = VARIANTS.map(variant_name).join(", ");
                        value(
                            origin,
                            "--variants",
                            format!("one of {all}"),
                            name,
                            "separate several by commas",
                        )
                    })
                })
                .collect::<Result<_, _>>()?;
        }
        self.check(origin)?;
        Ok(self)
    }
}
