//! Activations, sums and products of two values, softmax, resizing.

use calipers_ir::{BinaryKind, Clip, Image, Op, Scanning, UnaryKind};

use super::products::Made;
use crate::builder::Builder;
use crate::layer::Around;

pub fn unary(kind: UnaryKind) -> impl Fn(&mut Builder, Around) -> Made {
    move |builder, around| builder.unary(kind.clone(), around.before)
}

pub fn clip6(builder: &mut Builder, around: Around) -> Made {
    builder.op("layer", Op::Clip(Clip { min: 0.0, max: 6.0 }), &[around.before])
}

pub fn prelu(builder: &mut Builder, around: Around) -> Made {
    let slopes = builder.draw("layer.weight", &[16], 0.1, 0.4);
    let slopes = builder.constant("layer.weight", &[16, 1, 1], slopes)?;
    builder.binary(BinaryKind::PRelu, around.before, slopes)
}

pub fn gelu(tanh: bool) -> impl Fn(&mut Builder, Around) -> Made {
    unary(UnaryKind::Gelu { approximate: String::from(if tanh { "tanh" } else { "none" }) })
}

/// `min(max(x / 6 + 1 / 2, 0), 1)`, as PyTorch defines it.
pub fn hard_sigmoid(builder: &mut Builder, around: Around) -> Made {
    builder.unary(UnaryKind::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, around.before)
}

pub fn softmax(builder: &mut Builder, around: Around) -> Made {
    let softmax = Scanning::Softmax { axis: -1, flatten: false, beta: 1.0 };
    builder.op("layer", Op::Scanning(softmax), &[around.before])
}

pub fn add(builder: &mut Builder, around: Around) -> Made {
    builder.binary(BinaryKind::Add, around.before, around.input)
}

pub fn mul(builder: &mut Builder, around: Around) -> Made {
    builder.binary(BinaryKind::Mul, around.before, around.input)
}

pub fn concat(builder: &mut Builder, around: Around) -> Made {
    builder.concat(1, &[around.before, around.input])
}

/// Twice the extents, without aligned corners.
pub fn resize(
    mode: &'static str,
    coordinates: &'static str,
    nearest: &'static str,
) -> impl Fn(&mut Builder, Around) -> Made {
    move |builder, around| {
        let scales = builder.constant("scales", &[4], vec![1.0, 1.0, 2.0, 2.0])?;
        let op = Op::Image(Image::Resize {
            antialias: false,
            axes: None,
            coordinate_transformation_mode: coordinates.to_owned(),
            cubic_coeff_a: -0.75,
            exclude_outside: false,
            extrapolation_value: 0.0,
            keep_aspect_ratio_policy: String::from("stretch"),
            mode: mode.to_owned(),
            nearest_mode: nearest.to_owned(),
        });
        let inputs = [Some(around.before), None, Some(scales)];
        Ok(builder.op_of_many("layer", op, &inputs, 1)?[0])
    }
}
