//! How a user says what to quantize and how: ordered rules, saved beside every output.

use calipers_ir::{Graph, Node};
use serde::{Deserialize, Serialize};

use crate::{Document, Granularity, ObserverKind, QuantError, Scheme, WeightScheme, WeightType};

/// Ordered rules: what `exclude` names stays in float, else the first rule that matches a node decides, else `default`.
///
/// ```json
/// {
///   "version": 2,
///   "exclude": ["head.*"],
///   "rules": [
///     {"operators": ["Gemm"], "treatment": {"weight_only": {"type": "i4", "granularity": {"per_group": 32}}}},
///     {"nodes": "layer4.*", "treatment": {"static": {"activation": {"type": "i8", "observer": "mse"}}}}
///   ],
///   "default": {"static": {}}
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Version of this document.
    pub version: u32,
    /// Globs over the names of nodes and of what they make, where `*` stands for any text and `?` for any character.
    /// What they match stays in float.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The rules, first match first.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// For nodes that no rule matches.
    #[serde(default)]
    pub default: Treatment,
    /// How the data were prepared. This crate keeps it and does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

/// What to do with the nodes that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Operators by ONNX name, e.g. `Conv`; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
    /// A glob over the names of nodes and of what they make; `None` for all.
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
    /// Weights and activations are quantized where it has an integer form, activations in ranges that calibration finds.
    Static(Scheme),
    /// Weights are quantized, and activations while running, in the range of each tensor, to u8.
    Dynamic(WeightScheme),
    /// Weights are quantized, and computed with in float.
    WeightOnly(WeightScheme),
}

impl Default for Treatment {
    fn default() -> Self {
        Treatment::Static(Scheme::default())
    }
}

impl Treatment {
    /// Whether this is static quantization, which needs data.
    pub fn needs_data(&self) -> bool {
        matches!(self, Treatment::Static(_))
    }
}

/// What decides about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// The pattern of that position in `exclude`.
    Exclude(usize),
    /// The rule of that position.
    Rule(usize),
    /// The default.
    Default,
}

impl Default for Recipe {
    /// Everything that has an integer form, statically: u8 asymmetric activations with observers chosen by output error,
    /// i8 per-channel weights.
    fn default() -> Self {
        Recipe {
            version: Self::VERSION,
            exclude: Vec::new(),
            rules: Vec::new(),
            default: Treatment::default(),
            data: None,
        }
    }
}

impl Rule {
    /// Whether the rule speaks of a node.
    pub fn matches(&self, graph: &Graph, node: &Node) -> bool {
        (self.operators.is_empty() || self.operators.iter().any(|name| name == node.op.name()))
            && self.nodes.as_ref().is_none_or(|pattern| named(pattern, graph, node))
    }
}

/// Whether a pattern matches the name of a node or of something that it makes.
pub(crate) fn named(pattern: &str, graph: &Graph, node: &Node) -> bool {
    let made = node.outputs.iter().map(|&id| graph.value(id).name.as_str());
    std::iter::once(node.name.as_str()).chain(made).any(|name| glob(pattern, name))
}

impl Recipe {
    /// Whether some treatment needs data.
    pub fn needs_data(&self) -> bool {
        self.rules.iter().map(|rule| &rule.treatment).chain([&self.default]).any(Treatment::needs_data)
    }

    /// The same recipe with one kind of observer for all static treatments.
    pub fn with_observer(mut self, observer: ObserverKind) -> Recipe {
        let rules = self.rules.iter_mut().map(|rule| &mut rule.treatment);
        for treatment in rules.chain([&mut self.default]) {
            if let Treatment::Static(scheme) = treatment {
                scheme.activation.observer = observer;
            }
        }
        self
    }

    /// The treatment of a node, and what decided.
    pub fn treatment(&self, graph: &Graph, node: &Node) -> (&Treatment, Decider) {
        if let Some(index) = self.exclude.iter().position(|pattern| named(pattern, graph, node)) {
            return (&Treatment::Float, Decider::Exclude(index));
        }
        match self.rules.iter().position(|rule| rule.matches(graph, node)) {
            Some(index) => (&self.rules[index].treatment, Decider::Rule(index)),
            None => (&self.default, Decider::Default),
        }
    }
}

impl Document for Recipe {
    const KIND: &'static str = "recipe";
    const SUFFIX: &'static str = "recipe.json";
    const VERSION: u32 = 2;

    fn version(&self) -> u32 {
        self.version
    }

    fn check(&self) -> Result<(), QuantError> {
        let treatments = self.rules.iter().map(|rule| &rule.treatment).chain([&self.default]);
        for (index, treatment) in treatments.enumerate() {
            let place =
                || if index < self.rules.len() { format!("rule {index}") } else { String::from("default") };
            let (observer, weight) = match treatment {
                Treatment::Float => continue,
                Treatment::Static(scheme) => (scheme.activation.observer, scheme.weight),
                Treatment::Dynamic(weight) | Treatment::WeightOnly(weight) => (ObserverKind::MinMax, *weight),
            };
            if let Err((expected, found)) = observer.check() {
                return Err(QuantError::Recipe {
                    place: place(),
                    expected: expected.to_owned(),
                    found: found.to_string(),
                });
            }
            let grouped = matches!(weight.granularity, Granularity::PerGroup(_));
            let four_bits = matches!(weight.dtype, WeightType::I4 | WeightType::U4);
            if weight.granularity == Granularity::PerGroup(0) {
                return Err(QuantError::Recipe {
                    place: place(),
                    expected: String::from("groups of at least one weight"),
                    found: String::from("0"),
                });
            }
            if matches!(treatment, Treatment::Dynamic(_)) && (grouped || four_bits) {
                return Err(QuantError::Recipe {
                    place: place(),
                    expected: String::from(
                        "8-bit weights per tensor or per channel, which is all that integer products take",
                    ),
                    found: format!("{:?}, {:?}", weight.dtype, weight.granularity),
                });
            }
        }
        Ok(())
    }
}

/// Whether the whole text matches: `*` is any text, `?` any one character, the rest itself.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
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

    use super::{Decider, Recipe, Rule, Treatment, glob};
    use crate::residual::residual;
    use crate::{ActivationType, Document, Granularity, ObserverKind, Scheme};

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
    fn what_is_excluded_comes_first_and_then_the_first_rule() {
        let rule = |operators: &[&str], nodes: Option<&str>, treatment| Rule {
            operators: operators.iter().map(|&name| name.to_owned()).collect(),
            nodes: nodes.map(str::to_owned),
            treatment,
        };
        let recipe = Recipe {
            exclude: vec![String::from("nothing"), String::from("log?ts")],
            rules: vec![
                rule(&["Conv"], Some("stem*"), Treatment::Float),
                rule(&["Conv"], None, Treatment::default()),
            ],
            ..Recipe::default()
        };
        let graph = residual();
        let decider = |name: &str| recipe.treatment(&graph, graph.node(graph.node_named(name).unwrap()));
        assert_eq!(decider("stem"), (&Treatment::Float, Decider::Rule(0)));
        assert_eq!(decider("conv1").1, Decider::Rule(1));
        assert_eq!(decider("add").1, Decider::Default);
        // By the name of what it makes.
        assert_eq!(decider("fc"), (&Treatment::Float, Decider::Exclude(1)));
    }

    #[test]
    fn the_written_form() {
        let json = r#"{"version": 2, "exclude": ["head*"], "rules": [
            {"operators": ["Gemm"], "treatment": "float"},
            {"nodes": "a*", "treatment": {"static": {
                "activation": {"type": "i8", "symmetric": true, "observer": {"moving_average": {}}},
                "weight": {"granularity": "per_tensor"}}}},
            {"treatment": {"weight_only": {"type": "u4", "granularity": {"per_group": 16}}}}],
            "default": {"static": {}}, "data": {"resize": 256}}"#;
        let recipe = Recipe::from_json(json).unwrap();
        assert_eq!(recipe.rules[0].treatment, Treatment::Float);
        let Treatment::Static(scheme) = &recipe.rules[1].treatment else { panic!("{recipe:?}") };
        assert_eq!(scheme.activation.dtype, ActivationType::I8);
        assert_eq!(scheme.activation.observer, ObserverKind::MovingAverage { constant: 0.01 });
        assert!(scheme.activation.symmetric && scheme.weight.granularity == Granularity::PerTensor);
        let Treatment::WeightOnly(weight) = &recipe.rules[2].treatment else { panic!("{recipe:?}") };
        assert_eq!(weight.granularity, Granularity::PerGroup(16));
        assert_eq!(recipe.default, Treatment::Static(Scheme::default()));
        assert_eq!(Recipe::from_json(&recipe.to_json().unwrap()).unwrap(), recipe);
    }

    #[test]
    fn unknown_keys_types_and_constants_are_refused() {
        for (json, expected) in [
            (r#"{"version": 2, "rule": []}"#, "unknown field `rule`"),
            (r#"{"version": 2, "default": {"static": {"bits": 4}}}"#, "unknown field `bits`"),
            (
                r#"{"version": 2, "default": {"static": {"activation": {"type": "u4"}}}}"#,
                "unknown variant `u4`, expected one of `u8`, `i8`, `u16`, `i16`",
            ),
            (r#"{"rules": []}"#, "missing field `version`"),
            (r#"{"version": 7}"#, "version 7 is not supported, expected 2"),
            (
                r#"{"version": 2, "default": {"static": {"activation": {"observer": {"moving_average": {"constant": 0}}}}}}"#,
                "recipe, default: expected an averaging constant above 0 and at most 1, found 0",
            ),
            (
                r#"{"version": 2, "rules": [{"treatment": {"static": {"activation": {"observer": {"percentile": {"percent": 101}}}}}}]}"#,
                "recipe, rule 0: expected a percentage above 0 and at most 100, found 101",
            ),
            (
                r#"{"version": 2, "default": {"weight_only": {"granularity": {"per_group": 0}}}}"#,
                "expected groups of at least one weight, found 0",
            ),
            (
                r#"{"version": 2, "default": {"dynamic": {"type": "i4"}}}"#,
                "expected 8-bit weights per tensor or per channel",
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
