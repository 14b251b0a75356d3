//! Scaled dot product attention.

use calipers_ir::{DType, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::broadcast_strides;

/// Attributes of Attention, as on the ONNX page.
pub(super) struct Attention {
    pub is_causal: bool,
    pub kv_num_heads: Option<i64>,
    pub q_num_heads: Option<i64>,
    pub qk_matmul_output_mode: i64,
    pub scale: Option<f32>,
    pub softcap: f32,
}

/// Elements `[batch, heads, sequence, size]`.
struct Heads {
    values: Vec<f64>,
    shape: [usize; 4],
}

impl Heads {
    /// Input `index` of rank 4, or of rank 3 with the heads side by side in its last axis.
    fn of(inputs: &Inputs<'_>, index: usize, heads: Option<i64>) -> Result<Heads, Error> {
        let tensor = inputs.tensor(index)?;
        let values = inputs.doubles(index)?;
        match *tensor.shape() {
            [batch, heads, sequence, size] => Ok(Heads { values, shape: [batch, heads, sequence, size] }),
            [batch, sequence, hidden] => {
                let heads = heads.and_then(|heads| usize::try_from(heads).ok()).filter(|&heads| heads > 0);
                let Some(heads) = heads.filter(|heads| hidden % heads == 0) else {
                    return Err(inputs.argument(
                        format!("numbers of heads that divide the last axis of input {index}"),
                        format!("shape {:?}", tensor.shape()),
                    ));
                };
                let shape = [batch, heads, sequence, hidden / heads];
                Ok(Heads { values: turned(&values, sequence, heads, hidden / heads), shape })
            }
            ref shape => {
                Err(inputs.argument(format!("input {index} of rank 3 or 4"), format!("shape {shape:?}")))
            }
        }
    }

    /// These after others along the sequence.
    fn after(self, inputs: &Inputs<'_>, past: Option<Heads>) -> Result<Heads, Error> {
        let Some(past) = past else { return Ok(self) };
        let ([batch, heads, new, size], [.., old, _]) = (self.shape, past.shape);
        if past.shape != [batch, heads, old, size] {
            return Err(inputs.argument(format!("a past of {:?}", self.shape), format!("{:?}", past.shape)));
        }
        let shape = [batch, heads, old + new, size];
        let mut values = Vec::with_capacity(inputs.count(&shape)?);
        for head in 0..batch * heads {
            values.extend_from_slice(&past.values[head * old * size..][..old * size]);
            values.extend_from_slice(&self.values[head * new * size..][..new * size]);
        }
        Ok(Heads { values, shape })
    }

    /// The rows of one head of one sample.
    fn head(&self, sample: usize, head: usize) -> &[f64] {
        let [_, heads, sequence, size] = self.shape;
        &self.values[(sample * heads + head) * sequence * size..][..sequence * size]
    }

    fn into_tensor(self, inputs: &Inputs<'_>, dtype: DType) -> Result<Tensor, Error> {
        inputs.result(dtype, &self.shape, Numbers::F64(self.values))
    }
}

/// `[batch, a, b, size]` as `[batch, b, a, size]`.
fn turned(values: &[f64], a: usize, b: usize, size: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(values.len());
    for sample in values.chunks_exact((a * b * size).max(1)) {
        for column in 0..b {
            for row in 0..a {
                out.extend_from_slice(&sample[(row * b + column) * size..][..size]);
            }
        }
    }
    out
}

/// `softmax(softcap(scale q k^T) + mask) v` for each head; a query that may attend to nothing gives zeros.
pub(super) fn attention(
    attributes: &Attention,
    inputs: &Inputs<'_>,
    outputs: usize,
) -> Result<Vec<Tensor>, Error> {
    let q = Heads::of(inputs, 0, attributes.q_num_heads)?;
    let past = |index: usize| inputs.optional(index).map(|_| Heads::of(inputs, index, None)).transpose();
    let (past_key, past_value) = (past(4)?, past(5)?);
    let valid = inputs.optional_integers(6)?;
    if past_key.is_some() != past_value.is_some() || past_key.is_some() && valid.is_some() {
        return Err(
            inputs.argument("past key and value together, without nonpad_kv_seqlen", "another choice")
        );
    }
    let before = past_key.as_ref().map_or(0, |past| past.shape[2]);
    let k = Heads::of(inputs, 1, attributes.kv_num_heads)?.after(inputs, past_key)?;
    let v = Heads::of(inputs, 2, attributes.kv_num_heads)?.after(inputs, past_value)?;
    let [batch, heads, rows, size] = q.shape;
    let [.., columns, value_size] = v.shape;
    let shared = k.shape[1];
    let fits = k.shape == [batch, shared, columns, size]
        && v.shape == [batch, shared, columns, value_size]
        && shared > 0
        && heads % shared == 0
        && valid.as_ref().is_none_or(|valid| valid.len() == batch);
    if !fits {
        return Err(inputs.argument(
            "queries, keys and values of one batch and size, heads in equal groups, a length for each sample",
            format!("{:?}, {:?}, {:?}", q.shape, k.shape, v.shape),
        ));
    }
    let score_shape = [batch, heads, rows, columns];
    let out_shape = [batch, heads, rows, value_size];
    inputs.count(&score_shape)?;
    let mask = Mask::of(inputs, &score_shape)?;
    let dtype = inputs.tensor(0)?.dtype();
    let scale = attributes.scale.map_or(1.0 / (size as f64).sqrt(), f64::from);
    let softcap = f64::from(attributes.softcap);
    let mut kept = Vec::with_capacity(if outputs > 3 { batch * heads * rows * columns } else { 0 });
    let mut result = Vec::with_capacity(inputs.count(&out_shape)?);
    let (mut scores, mut biases) = (vec![0.0; columns], vec![0.0; columns]);
    for sample in 0..batch {
        let length = valid.as_ref().map_or(columns as i64, |valid| valid[sample]);
        let offset = if valid.is_some() { length.saturating_sub(rows as i64) } else { before as i64 };
        for head in 0..heads {
            let (keys, values) =
                (k.head(sample, head * shared / heads), v.head(sample, head * shared / heads));
            for row in 0..rows {
                let query = &q.head(sample, head)[row * size..][..size];
                for column in 0..columns {
                    let key = &keys[column * size..][..size];
                    let product: f64 = query.iter().zip(key).map(|(a, b)| a * b).sum();
                    scores[column] = scale * product;
                    let at = column as i64;
                    let hidden =
                        at >= length || attributes.is_causal && at > offset.saturating_add(row as i64);
                    let bias = mask.as_ref().map_or(0.0, |mask| mask.at([sample, head, row, column]));
                    biases[column] = if hidden { f64::NEG_INFINITY } else { bias };
                }
                let mode = if outputs > 3 { attributes.qk_matmul_output_mode } else { -1 };
                keep(&mut kept, mode == 0, &scores);
                if softcap > 0.0 {
                    scores.iter_mut().for_each(|score| *score = softcap * libm::tanh(*score / softcap));
                }
                keep(&mut kept, mode == 1, &scores);
                scores.iter_mut().zip(&biases).for_each(|(score, bias)| *score += bias);
                keep(&mut kept, mode == 2, &scores);
                match biases.iter().all(|&bias| bias == f64::NEG_INFINITY) {
                    true => scores.fill(0.0),
                    false => softmax(&mut scores),
                }
                keep(&mut kept, mode == 3, &scores);
                let start = result.len();
                result.resize(start + value_size, 0.0);
                for (share, value) in scores.iter().zip(values.chunks_exact(value_size.max(1))) {
                    result[start..].iter_mut().zip(value).for_each(|(sum, value)| *sum += share * value);
                }
            }
        }
    }
    let (result, shape) = match inputs.tensor(0)?.shape().len() {
        3 => (turned(&result, heads, rows, value_size), vec![batch, rows, heads * value_size]),
        _ => (result, out_shape.to_vec()),
    };
    let mut results = vec![inputs.result(dtype, &shape, Numbers::F64(result))?];
    if outputs > 1 {
        results.push(k.into_tensor(inputs, inputs.tensor(1)?.dtype())?);
        results.push(v.into_tensor(inputs, inputs.tensor(2)?.dtype())?);
    }
    if outputs > 3 {
        if !(0..=3).contains(&attributes.qk_matmul_output_mode) {
            let mode = attributes.qk_matmul_output_mode;
            return Err(inputs.argument("a qk_matmul_output_mode of 0 to 3", format!("{mode}")));
        }
        results.push(inputs.result(dtype, &score_shape, Numbers::F64(kept))?);
    }
    Ok(results)
}

fn keep(kept: &mut Vec<f64>, wanted: bool, scores: &[f64]) {
    if wanted {
        kept.extend_from_slice(scores);
    }
}

fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = libm::exp(*score - largest));
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// What is added to each score; minus infinity past the mask's last column and where it is false.
struct Mask {
    values: Vec<f64>,
    strides: Vec<isize>,
    columns: usize,
}

impl Mask {
    fn of(inputs: &Inputs<'_>, scores: &[usize; 4]) -> Result<Option<Mask>, Error> {
        let Some(tensor) = inputs.optional(3) else { return Ok(None) };
        let shape = tensor.shape();
        let columns = shape.last().copied().unwrap_or(1);
        // A last axis of 1 is broadcast only where there is nothing to pad.
        let width = if columns < scores[3] { columns } else { scores[3] };
        let target = [scores[0], scores[1], scores[2], width];
        if crate::shape::broadcast(&[shape, &target]).as_deref() != Some(&target) {
            let expected = format!("a mask that broadcasts to {scores:?}");
            return Err(inputs.argument(expected, format!("shape {shape:?}")));
        }
        let numbers = inputs.numbers(3)?;
        let boolean = matches!(numbers, Numbers::Bool(_));
        let mut values = numbers.into_f64();
        if boolean {
            values.iter_mut().for_each(|value| *value = if *value == 0.0 { f64::NEG_INFINITY } else { 0.0 });
        }
        Ok(Some(Mask { values, strides: broadcast_strides(shape, &target), columns: width }))
    }

    fn at(&self, position: [usize; 4]) -> f64 {
        if position[3] >= self.columns {
            return f64::NEG_INFINITY;
        }
        let place: isize = position.iter().zip(&self.strides).map(|(&at, step)| at as isize * step).sum();
        self.values[place as usize]
    }
}
