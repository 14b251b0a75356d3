//! The short names of recipes: `w8a8`, `w8a16`, `w4a16`, `w8`, `w4`.

use crate::{ActivationScheme, ActivationType, QuantError, Recipe, Scheme, Treatment, WeightScheme};

/// Every short name with what it stands for, one a line.
pub const PRECISIONS: [(&str, &str); 7] = [
    ("w8a8", "static: i8 weights per channel, u8 activations"),
    ("w8a16", "static: i8 weights per channel, u16 activations"),
    ("w4a8", "static: i4 weights in groups of 32, u8 activations"),
    ("w4a16", "static: i4 weights in groups of 32, u16 activations"),
    ("w8", "weights only: i8 per channel, computed in float"),
    ("w4", "weights only: i4 in groups of 32, computed in float"),
    ("w8a8-dynamic", "dynamic: i8 weights per channel, u8 activations whose ranges are found while running"),
];

impl Treatment {
    /// The treatment with a short name; see [`PRECISIONS`].
    ///
    /// # Errors
    /// A name that is none of them.
    pub fn of_precision(name: &str) -> Result<Treatment, QuantError> {
        let fixed = |dtype, weight| {
            let activation = ActivationScheme { dtype, ..ActivationScheme::default() };
            Ok(Treatment::Static(Scheme { activation, weight }))
        };
        let (eight, four) = (WeightScheme::default(), WeightScheme::four_bits());
        match name.to_ascii_lowercase().as_str() {
            "w8a8" => fixed(ActivationType::U8, eight),
            "w8a16" => fixed(ActivationType::U16, eight),
            "w4a8" => fixed(ActivationType::U8, four),
            "w4a16" => fixed(ActivationType::U16, four),
            "w8" => Ok(Treatment::WeightOnly(eight)),
            "w4" => Ok(Treatment::WeightOnly(four)),
            "w8a8-dynamic" => Ok(Treatment::Dynamic(eight)),
            _ => {
                let names: Vec<&str> = PRECISIONS.iter().map(|(name, _)| *name).collect();
                Err(QuantError::Recipe {
                    place: String::from("precision"),
                    expected: format!("one of {}", names.join(", ")),
                    found: format!("`{name}`"),
                })
            }
        }
    }
}

impl Recipe {
    /// The recipe of one treatment for everything, by its short name; see [`PRECISIONS`].
    ///
    /// # Errors
    /// A name that is none of them.
    pub fn of_precision(name: &str) -> Result<Recipe, QuantError> {
        Ok(Recipe { default: Treatment::of_precision(name)?, ..Recipe::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::PRECISIONS;
    use crate::{Document, Granularity, Recipe, Treatment, WeightType};

    #[test]
    fn every_name_is_a_recipe_of_its_own() {
        let recipes: Vec<Recipe> =
            PRECISIONS.iter().map(|(name, _)| Recipe::of_precision(name).unwrap()).collect();
        for (index, recipe) in recipes.iter().enumerate() {
            recipe.check().unwrap();
            assert!(recipes[..index].iter().all(|other| other != recipe));
        }
        assert_eq!(Recipe::of_precision("W8A8").unwrap(), Recipe::default());
        let Treatment::WeightOnly(weight) = Recipe::of_precision("w4").unwrap().default else { panic!() };
        assert_eq!((weight.dtype, weight.granularity), (WeightType::I4, Granularity::PerGroup(32)));
        let error = Recipe::of_precision("w2").unwrap_err().to_string();
        assert!(error.starts_with("recipe, precision: expected one of w8a8, w8a16"), "{error}");
    }
}
