//! From flags to a recipe.

use calipers_quant::{ActivationType, Document, Recipe, Treatment};

use super::arguments::{Activations, Mode, QuantizeArguments};
use crate::Message;

/// The recipe that the flags ask for: that of the file, or one treatment for everything.
pub fn recipe(arguments: &QuantizeArguments) -> Result<Recipe, Message> {
    let mut recipe = match &arguments.recipe {
        Some(path) => Recipe::load(path).map_err(|error| error.to_string())?,
        None => {
            let default = treatment(arguments.precision.as_deref(), arguments.mode, arguments.activations)?;
            Recipe { default, ..Recipe::default() }
        }
    };
    recipe.exclude.extend(arguments.exclude.iter().cloned());
    if let Some(observer) = arguments.observer {
        if !needs_data(&recipe) {
            return Err(String::from(
                "an observer finds the ranges of activations, and nothing here is quantized statically\n\
                 hint: leave out --observer, or choose a precision such as w8a8",
            ));
        }
        recipe = recipe.with_observer(observer);
    }
    recipe.check().map_err(|error| error.to_string())?;
    Ok(recipe)
}

/// Whether some rule quantizes statically.
pub fn needs_data(recipe: &Recipe) -> bool {
    recipe.rules.iter().map(|rule| &rule.treatment).chain([&recipe.default]).any(Treatment::needs_data)
}

/// What the recipe is called in the name of the output: the short name of a precision, where there is one.
pub fn label(arguments: &QuantizeArguments) -> &str {
    match (&arguments.recipe, arguments.precision.as_deref(), arguments.mode) {
        (Some(_), ..) => "quantized",
        (None, None | Some("w8a8"), Some(Mode::Dynamic)) => "w8a8-dynamic",
        (None, None, Some(Mode::WeightOnly)) => "w8",
        (None, None, None | Some(Mode::Static)) => "w8a8",
        (None, Some(precision), _) => precision,
    }
}

fn treatment(
    precision: Option<&str>,
    mode: Option<Mode>,
    activations: Option<Activations>,
) -> Result<Treatment, Message> {
    let of = |name: &str| Treatment::of_precision(name).map_err(|error| error.to_string());
    let mut treatment = match (precision, mode) {
        (None, None | Some(Mode::Static)) => of("w8a8")?,
        (None | Some("w8a8"), Some(Mode::Dynamic)) => of("w8a8-dynamic")?,
        (None, Some(Mode::WeightOnly)) => of("w8")?,
        (Some(name), None) => of(name)?,
        (Some(name), Some(mode)) => {
            let treatment = of(name)?;
            let own = match &treatment {
                Treatment::Static(_) => Mode::Static,
                Treatment::Dynamic(_) => Mode::Dynamic,
                Treatment::WeightOnly(_) | Treatment::Float => Mode::WeightOnly,
            };
            if own != mode {
                return Err(format!(
                    "the precision {name} is {}, and --mode says {}\nhint: leave one of them out; weights alone are w8 \
                     and w4, dynamic is w8a8-dynamic",
                    own.name(),
                    mode.name()
                ));
            }
            treatment
        }
    };
    let Some(activations) = activations else { return Ok(treatment) };
    let wide = |dtype| matches!(dtype, ActivationType::U16 | ActivationType::I16);
    match &mut treatment {
        Treatment::Static(scheme) if wide(scheme.activation.dtype) == wide(activations.dtype()) => {
            scheme.activation.dtype = activations.dtype();
            Ok(treatment)
        }
        Treatment::Static(scheme) => Err(format!(
            "the activations of this precision have {} bits\nhint: 8 bits are those of w8a8 and w4a8, 16 those of w8a16 \
             and w4a16",
            if wide(scheme.activation.dtype) { 16 } else { 8 }
        )),
        Treatment::Dynamic(_) | Treatment::WeightOnly(_) | Treatment::Float => Err(String::from(
            "a storage type of activations can be chosen for static quantization alone\nhint: leave out --activations",
        )),
    }
}

#[cfg(test)]
mod tests {
    use calipers_quant::{ActivationType, Treatment};

    use super::{Activations, Mode, treatment};

    #[test]
    fn precision_mode_and_activations_agree_or_are_refused() {
        let named = |name| Treatment::of_precision(name).unwrap();
        for (precision, mode, expected) in [
            (None, None, "w8a8"),
            (None, Some(Mode::Dynamic), "w8a8-dynamic"),
            (Some("w8a8"), Some(Mode::Dynamic), "w8a8-dynamic"),
            (None, Some(Mode::WeightOnly), "w8"),
            (Some("w4"), Some(Mode::WeightOnly), "w4"),
            (Some("w4a16"), Some(Mode::Static), "w4a16"),
        ] {
            assert_eq!(treatment(precision, mode, None), Ok(named(expected)), "{precision:?} {mode:?}");
        }
        let refused = |precision, mode, activations| treatment(precision, mode, activations).unwrap_err();
        assert!(refused(Some("w8"), Some(Mode::Static), None).starts_with("the precision w8 is weight-only"));
        assert!(refused(Some("w8a16"), None, Some(Activations::I8)).contains("16 bits"));
        assert!(refused(Some("w4"), None, Some(Activations::I8)).contains("static quantization alone"));
        let Treatment::Static(scheme) = treatment(None, None, Some(Activations::I8)).unwrap() else {
            panic!()
        };
        assert_eq!(scheme.activation.dtype, ActivationType::I8);
    }
}
