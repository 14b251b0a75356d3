//! Which values of two models are the same.

use std::collections::{HashMap, HashSet};

use calipers_ir::{Fate, Renames};
use serde::Serialize;

use crate::layout::{channels_first_shape, channels_last_shape};

use super::logical::Logical;

/// How a pair was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Both have the same name, but for what quantization adds.
    Name,
    /// The passes gave one of them another name.
    Renamed,
    /// Same operator and shape, at the same place in the order of layers.
    Order,
}

/// The order of axes of the second model's value, beside the first one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Permutation {
    /// The same.
    Same,
    /// Channels last, where the first model has them first.
    ChannelsLast,
    /// Channels first, where the first model has them last.
    ChannelsFirst,
}

/// A value of both models.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub a: usize,
    pub b: usize,
    pub how: How,
    pub permutation: Permutation,
}

/// A value with the shape that it has in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shaped<'a> {
    pub logical: &'a Logical,
    /// `None` when it holds no real numbers.
    pub shape: Option<&'a [usize]>,
}

/// Pairs by name; those whose shapes do not fit are left out.
pub(super) fn by_name(a: &[Shaped<'_>], b: &[Shaped<'_>], renames: &[&Renames]) -> Vec<Pair> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (index, value) in a.iter().enumerate().rev() {
        // Bare names first: they stand before the others.
        for name in value.logical.names.iter().rev() {
            known.insert(name, index);
        }
    }
    let mut renamed: HashMap<&str, &str> = HashMap::new();
    for (old, fate) in renames.iter().flat_map(|renames| &renames.0) {
        if let Fate::Renamed(now) = fate {
            renamed.insert(now, old);
            renamed.insert(old, now);
        }
    }
    let mut taken = HashSet::new();
    let mut pairs = Vec::new();
    for (index, value) in b.iter().enumerate() {
        let names = || value.logical.names.iter().map(String::as_str);
        let direct = names().find_map(|name| known.get(name)).map(|&at| (at, How::Name));
        let other = || names().find_map(|name| known.get(renamed.get(name)?)).map(|&at| (at, How::Renamed));
        let Some((at, how)) = direct.or_else(other) else { continue };
        let permutation = a[at].shape.zip(value.shape).and_then(|(a, b)| permutation(a, b));
        if let Some(permutation) = permutation.filter(|_| taken.insert(at)) {
            pairs.push(Pair { a: at, b: index, how, permutation });
        }
    }
    pairs
}

/// Pairs by the order of layers: the longest common sequence of equal operators with shapes that fit, operators with
/// weights counting more. Inputs go by their order. Of values that are in `known` pairs there are none, nor of those that
/// stand before such a value in one model and behind it in the other.
pub(super) fn by_order(a: &[Shaped<'_>], b: &[Shaped<'_>], known: &[Pair]) -> Vec<Pair> {
    let fits = |i: usize, j: usize| {
        known.iter().all(|pair| pair.a != i && pair.b != j && (pair.a < i) == (pair.b < j))
    };
    let a: Vec<(usize, &Shaped<'_>)> =
        a.iter().enumerate().filter(|(i, _)| known.iter().all(|pair| pair.a != *i)).collect();
    let b: Vec<(usize, &Shaped<'_>)> =
        b.iter().enumerate().filter(|(j, _)| known.iter().all(|pair| pair.b != *j)).collect();
    let score = |x: &Shaped<'_>, y: &Shaped<'_>| -> u32 {
        let fit = x.shape.zip(y.shape).is_some_and(|(x, y)| permutation(x, y).is_some());
        let (x, y) = (kind(&x.logical.operator), kind(&y.logical.operator));
        match (fit && x == y, x) {
            (false, _) => 0,
            (true, "convolution" | "product" | "input") => 4,
            (true, _) => 1,
        }
    };
    let (rows, columns) = (a.len() + 1, b.len() + 1);
    // Far more than networks have; beyond it, the table would not be worth its memory.
    if rows.saturating_mul(columns) > 64_000_000 {
        return Vec::new();
    }
    let mut best = vec![0u32; rows * columns];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            let skip = best[(i + 1) * columns + j].max(best[i * columns + j + 1]);
            let both = match score(a[i].1, b[j].1) {
                0 => 0,
                score => score + best[(i + 1) * columns + j + 1],
            };
            best[i * columns + j] = skip.max(both);
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        let here = best[i * columns + j];
        let score = score(a[i].1, b[j].1);
        if score > 0 && here == score + best[(i + 1) * columns + j + 1] {
            let fit = a[i].1.shape.zip(b[j].1.shape).and_then(|(a, b)| permutation(a, b));
            let pair = fit.map(|permutation| Pair { a: a[i].0, b: b[j].0, how: How::Order, permutation });
            pairs.extend(pair.filter(|pair| fits(pair.a, pair.b)));
            (i, j) = (i + 1, j + 1);
        } else if here == best[(i + 1) * columns + j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// What the formats call by different names.
fn kind(operator: &str) -> &str {
    match operator {
        "Conv" | "ConvInteger" => "convolution",
        "Gemm" | "MatMul" | "MatMulInteger" => "product",
        "GlobalAveragePool" | "ReduceMean" => "mean",
        "LSTM" | "UnidirectionalSequenceLstm" => "lstm",
        "Relu" | "Clip" => "limit",
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => "reshape",
        other => other,
    }
}

/// How two shapes of as many elements fit; `None` when they do not.
fn permutation(a: &[usize], b: &[usize]) -> Option<Permutation> {
    if a == b {
        return Some(Permutation::Same);
    }
    if a.len() == b.len() && a.len() > 2 {
        if channels_first_shape(b) == a {
            return Some(Permutation::ChannelsLast);
        }
        if channels_last_shape(b) == a {
            return Some(Permutation::ChannelsFirst);
        }
    }
    // Extents of one come and go with reshapes and poolings.
    let whole =
        |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|&extent| extent != 1).collect() };
    (whole(a) == whole(b)).then_some(Permutation::Same)
}
