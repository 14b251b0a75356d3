//! How a user says what to quantize and how: ordered rules, saved beside every output.

use serde::{Deserialize, Serialize};

use crate::{Document, ObserverKind, QuantError};

/// Ordered rules: the first that matches a node decides, else `default`.
///
/// ```json
/// {
///   "version": 1,
///   "rules": [
///     {"operators": ["Gemm"], "treatment": "float"},
///     {"nodes": "layer4.*", "treatment": {"quantize": {"activation": {"type": "i8", "symmetric": true}}}}
///   ],
///   "default": {"quantize": {}}
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Version of this document.
    pub version: u32,
    /// The rules, first match first.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// For nodes that no rule matches.
    #[serde(default)]
    pub default: Treatment,
}

/// What to do with the nodes that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Operators by ONNX name, e.g. `Conv`; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
    /// A glob over node names, where `*` stands for any text and `?` for any character; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// What to do.
    pub treatment: Treatment,
}

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Treatment {
    /// It stays in float.
    Float,
    /// It is quantized where it has an integer form.
    Quantize(Scheme),
}

impl Default for Treatment {
    fn default() -> Self {
        Treatment::Quantize(Scheme::default())
    }
}

/// How a node is quantized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// For the values that it makes, and those it reads that no quantized node makes.
    #[serde(default)]
    pub activation: ActivationScheme,
    /// For its weights.
    #[serde(default)]
    pub weight: WeightScheme,
}

/// How activations are quantized: one scale and zero point for each value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationScheme {
    /// Storage type.
    #[serde(default, rename = "type")]
    pub dtype: ActivationType,
    /// Whether the range is widened to `[-m, m]`.
    #[serde(default)]
    pub symmetric: bool,
    /// How the range is found.
    #[serde(default)]
    pub observer: ObserverKind,
}

/// Storage types of activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivationType {
    /// 0 to 255.
    #[default]
    U8,
    /// -128 to 127; -127 to 127 when symmetric.
    I8,
}

/// How weights are quantized: i8 with a zero point of 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightScheme {
    /// One scale for each output channel, or one for the whole weight.
    #[serde(default = "yes")]
    pub per_channel: bool,
}

fn yes() -> bool {
    true
}

impl Default for WeightScheme {
    fn default() -> Self {
        WeightScheme { per_channel: true }
    }
}

impl Default for Recipe {
    /// Everything that has an integer form: u8 asymmetric activations by min-max, i8 per-channel weights.
    fn default() -> Self {
        Recipe { version: Self::VERSION, rules: Vec::new(), default: Treatment::default() }
    }
}

impl Rule {
    /// Whether the rule speaks of a node.
    pub fn matches(&self, operator: &str, node: &str) -> bool {
        (self.operators.is_empty() || self.operators.iter().any(|name| name == operator))
            && self.nodes.as_ref().is_none_or(|pattern| glob(pattern, node))
    }
}

impl Recipe {
    /// The treatment of a node, and the position of the rule that decided; `None` for the default.
    pub fn treatment(&self, operator: &str, node: &str) -> (&Treatment, Option<usize>) {
        match self.rules.iter().enumerate().find(|(_, rule)| rule.matches(operator, node)) {
            Some((index, rule)) => (&rule.treatment, Some(index)),
            None => (&self.default, None),
        }
    }
}

impl Document for Recipe {
    const KIND: &'static str = "recipe";
    const SUFFIX: &'static str = "recipe.json";
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }

    fn check(&self) -> Result<(), QuantError> {
        let treatments = self.rules.iter().map(|rule| &rule.treatment).chain([&self.default]);
        for (index, treatment) in treatments.enumerate() {
            if let Treatment::Quantize(scheme) = treatment
                && let ObserverKind::MovingAverage { constant } = scheme.activation.observer
                && !(constant > 0.0 && constant <= 1.0)
            {
                let place =
                    if index < self.rules.len() { format!("rule {index}") } else { String::from("default") };
                return Err(QuantError::Recipe {
                    place,
                    expected: String::from("an averaging constant above 0 and at most 1"),
                    found: constant.to_string(),
                });
            }
        }
        Ok(())
    }
}

/// Whether the whole text matches: `*` is any text, `?` any one character, the rest itself.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the text after the last star does not match: one character further.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(&wanted) if wanted == '?' || wanted == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&wanted| wanted == '*')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ActivationType, Recipe, Rule, Scheme, Treatment, glob};
    use crate::{Document, ObserverKind};

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("layer1.*", "layer1.conv", true),
            ("layer1.*", "layer10.conv", false),
            ("*.conv?", "a.conv1.conv2", true),
            ("*.conv?", "a.conv", false),
            ("**", "", true),
            ("", "", true),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
            ("é?", "éa", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn the_first_rule_decides() {
        let rule = |operators: &[&str], nodes: Option<&str>, treatment| Rule {
            operators: operators.iter().map(|&name| name.to_owned()).collect(),
            nodes: nodes.map(str::to_owned),
            treatment,
        };
        let recipe = Recipe {
            rules: vec![
                rule(&["Conv"], Some("stem*"), Treatment::Float),
                rule(&[], Some("*"), Treatment::default()),
                rule(&["Conv"], None, Treatment::Float),
            ],
            ..Recipe::default()
        };
        assert_eq!(recipe.treatment("Conv", "stem.conv"), (&Treatment::Float, Some(0)));
        assert_eq!(recipe.treatment("Conv", "other").1, Some(1));
        assert_eq!(Recipe::default().treatment("Conv", "other").1, None);
    }

    #[test]
    fn the_written_form() {
        let json = r#"{"version": 1, "rules": [
            {"operators": ["Gemm"], "treatment": "float"},
            {"nodes": "a*", "treatment": {"quantize": {
                "activation": {"type": "i8", "symmetric": true, "observer": {"moving_average": {}}},
                "weight": {"per_channel": false}}}}],
            "default": {"quantize": {}}}"#;
        let recipe = Recipe::from_json(json).unwrap();
        assert_eq!(recipe.rules[0].treatment, Treatment::Float);
        let Treatment::Quantize(scheme) = &recipe.rules[1].treatment else { panic!("{recipe:?}") };
        assert_eq!(scheme.activation.dtype, ActivationType::I8);
        assert_eq!(scheme.activation.observer, ObserverKind::MovingAverage { constant: 0.01 });
        assert!(scheme.activation.symmetric && !scheme.weight.per_channel);
        assert_eq!(recipe.default, Treatment::Quantize(Scheme::default()));
        assert_eq!(Recipe::from_json(&recipe.to_json().unwrap()).unwrap(), recipe);
    }

    #[test]
    fn unknown_keys_types_and_constants_are_refused() {
        for (json, expected) in [
            (r#"{"version": 1, "rule": []}"#, "unknown field `rule`"),
            (r#"{"version": 1, "default": {"quantize": {"bits": 4}}}"#, "unknown field `bits`"),
            (
                r#"{"version": 1, "default": {"quantize": {"activation": {"type": "u4"}}}}"#,
                "unknown variant `u4`, expected `u8` or `i8`",
            ),
            (r#"{"rules": []}"#, "missing field `version`"),
            (r#"{"version": 7}"#, "version 7 is not supported, expected 1"),
            (
                r#"{"version": 1, "default": {"quantize": {"activation": {"observer": {"moving_average": {"constant": 0}}}}}}"#,
                "recipe, default: expected an averaging constant above 0 and at most 1, found 0",
            ),
        ] {
            let error = Recipe::from_json(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_recipe_is_saved_beside_the_model_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = Recipe::path_beside(&folder.path().join("model.int8.onnx"));
        assert_eq!(path.file_name().unwrap(), "model.int8.recipe.json");
        Recipe::default().save(&path).unwrap();
        assert_eq!(Recipe::load(&path).unwrap(), Recipe::default());
        let error = Recipe::default().save(Path::new("/nowhere/at/all.json")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/at/all.json: "), "{error}");
    }
}
