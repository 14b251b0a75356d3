//! Operators that move or repeat elements. Integers stay integers where their parameters do.

use calipers_ir::{Activation, Attribute, Dim, Movement, Op, ValueId};

use super::super::read::{Mapped, Numbers, Site, keep};
use super::super::schema::BuiltinOperator as Builtin;

fn movement(op: Movement) -> Op {
    Op::Movement(op)
}

/// RESHAPE: the shape is an input or an option. Zeros in it are extents here, not copies.
pub(super) fn reshape(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 2, 1)?;
    let option = match site.options.get("new_shape") {
        Some(Attribute::Ints(shape)) => Some(shape.clone()),
        _ => None,
    };
    let given = site.inputs.get(1).copied().flatten().is_some();
    let mut shape = if given { site.integers(1) } else { option };
    if !given && shape.is_none() {
        return Err("it has neither an input nor an option for its shape".into());
    }
    if shape.as_deref() == Some(&[0]) {
        // Scalars, as old files say it.
        shape = site.result(0)?.ty.rank().filter(|&rank| rank == 0).map(|_| Vec::new());
        if shape.is_none() {
            return keep("its shape is [0]");
        }
    }
    if let Some(shape) = shape.as_ref().filter(|shape| shape.contains(&0)) {
        let of_x = site.shape(0)?;
        let copies = shape
            .iter()
            .enumerate()
            .all(|(axis, &extent)| extent != 0 || of_x.get(axis) == Some(&Dim::Known(0)));
        if !copies {
            return keep("its shape has an extent of 0");
        }
    }
    let shape = match shape {
        Some(shape) => site.integer_list("shape", shape)?,
        None => site.list(1)?,
    };
    let numbers = site.shared(&[0])?;
    let x = site.numbers(0, numbers)?;
    site.make_plain(numbers, Op::Reshape, &[Some(x), Some(shape)])
}

/// SQUEEZE of the axes of an option, or of all extents of 1.
pub(super) fn squeeze(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, 1, 1)?;
    let axes = match site.options.get("squeeze_dims") {
        Some(Attribute::Ints(axes)) if !axes.is_empty() => Some(axes.clone()),
        _ => None,
    };
    let axes = match axes {
        Some(axes) => Some(site.integer_list("axes", axes)?),
        None => None,
    };
    let numbers = site.shared(&[0])?;
    let x = site.numbers(0, numbers)?;
    let inputs: &[Option<ValueId>] = if axes.is_some() { &[Some(x), axes] } else { &[Some(x)] };
    site.make_plain(numbers, movement(Movement::Squeeze), inputs)
}

/// EXPAND_DIMS.
pub(super) fn expand_dims(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let numbers = site.shared(&[0])?;
    let inputs = [Some(site.numbers(0, numbers)?), Some(site.list(1)?)];
    site.make_plain(numbers, movement(Movement::Unsqueeze), &inputs)
}

/// TRANSPOSE by a constant permutation.
pub(super) fn transpose(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let Some(permutation) = site.integers(1) else { return keep("its permutation is computed") };
    let rank = permutation.len() as i64;
    let axis = |&axis: &i64| usize::try_from(if axis < 0 { axis.saturating_add(rank) } else { axis }).ok();
    let Some(permutation) = permutation.iter().map(axis).collect::<Option<Vec<_>>>() else {
        return Err(format!("its permutation {permutation:?} is none").into());
    };
    let numbers = site.shared(&[0])?;
    let x = site.numbers(0, numbers)?;
    site.make_plain(numbers, Op::Transpose { permutation }, &[Some(x)])
}

/// CONCATENATION.
pub(super) fn concatenation(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, usize::MAX, 1)?;
    let axis = site.int("axis")?;
    let activation = site.activation()?;
    let positions: Vec<usize> = (0..site.inputs.len()).collect();
    let plain = activation == Activation::None;
    let numbers = if plain { site.shared(&positions)? } else { Numbers::Real };
    let inputs = positions.into_iter().map(|position| site.numbers(position, numbers).map(Some));
    let inputs = inputs.collect::<Mapped<Vec<_>>>()?;
    site.make(0, numbers, movement(Movement::Concat { axis }), &inputs, activation)
}

/// PACK: inputs of one shape become the positions of a new axis.
pub(super) fn pack(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(1, usize::MAX, 1)?;
    let axis = site.int("axis")?;
    let positions: Vec<usize> = (0..site.inputs.len()).collect();
    let numbers = site.shared(&positions)?;
    let axes = site.integer_list("axes", vec![axis])?;
    let mut parts = Vec::with_capacity(positions.len());
    for position in positions {
        let part = site.numbers(position, numbers)?;
        let dtype = site.graph.editor.value(part).ty.dtype;
        parts.push(Some(site.step(
            "Unsqueeze",
            movement(Movement::Unsqueeze),
            &[Some(part), Some(axes)],
            dtype,
        )?));
    }
    site.make_plain(numbers, movement(Movement::Concat { axis }), &parts)
}

/// UNPACK: the positions of an axis become outputs.
pub(super) fn unpack(site: &mut Site<'_, '_>) -> Mapped {
    let outputs = site.outputs.len();
    site.arity(1, 1, outputs.max(1))?;
    if site.shared(&[0])? == Numbers::Real {
        return keep("its results have other quantization parameters than its data");
    }
    let (axis, dtype) = (site.int("axis")?, site.described(0)?.ty.dtype);
    let x = site.stored(0)?;
    let axes = site.integer_list("axes", vec![axis])?;
    let parts = if outputs == 1 { vec![x] } else { site.split_steps(x, axis, outputs, dtype)? };
    for (position, part) in parts.into_iter().enumerate() {
        site.store(position, movement(Movement::Squeeze), &[Some(part), Some(axes)])?;
    }
    Ok(())
}

/// SPLIT into equal parts: inputs are the axis and the data.
pub(super) fn split(site: &mut Site<'_, '_>) -> Mapped {
    let outputs = site.outputs.len();
    site.arity(2, 2, outputs.max(1))?;
    let Some(axis) = site.integer(0) else { return keep("its axis is computed") };
    if site.shared(&[1])? == Numbers::Real {
        return keep("its results have other quantization parameters than its data");
    }
    let x = site.stored(1)?;
    let num_outputs = Some(outputs as i64);
    site.store_all(movement(Movement::Split { axis, num_outputs }), &[Some(x)])
}

/// SPLIT_V: inputs are the data, the extents of the parts (one of which may be -1 for the rest) and the axis.
pub(super) fn split_by_sizes(site: &mut Site<'_, '_>) -> Mapped {
    let outputs = site.outputs.len();
    site.arity(3, 3, outputs.max(1))?;
    let Some(axis) = site.integer(2) else { return keep("its axis is computed") };
    if site.shared(&[0])? == Numbers::Real {
        return keep("its results have other quantization parameters than its data");
    }
    let shape = site.shape(0)?;
    let at = usize::try_from(if axis < 0 { axis.saturating_add(shape.len() as i64) } else { axis });
    let extent = at.ok().and_then(|axis| shape.get(axis)).and_then(Dim::known);
    let sizes = match site.integers(1) {
        None => site.list(1)?,
        Some(mut sizes) => {
            let rest = sizes.iter().position(|&size| size == -1);
            if let Some(rest) = rest {
                let Some(extent) = extent else { return keep("the extent that it splits is not known") };
                let others: i64 =
                    sizes.iter().filter(|&&size| size != -1).fold(0, |sum, &size| sum.saturating_add(size));
                sizes[rest] = (extent as i64).saturating_sub(others);
            }
            if sizes.len() != outputs || sizes.iter().any(|&size| size < 0) {
                return Err(format!("{outputs} parts were expected, found {sizes:?}").into());
            }
            site.integer_list("sizes", sizes)?
        }
    };
    let x = site.stored(0)?;
    let op = movement(Movement::Split { axis, num_outputs: None });
    site.store_all(op, &[Some(x), Some(sizes)])
}

/// PAD and PADV2: rows of the second input are the elements before and after each axis.
pub(super) fn pad(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 3, 1)?;
    let given = site.op == Builtin::PADV2 && site.inputs.get(2).copied().flatten().is_some();
    let numbers = site.shared(if given { &[0, 2] } else { &[0] })?;
    let x = site.numbers(0, numbers)?;
    let pads = pads(site)?;
    let value = if given {
        Some(site.numbers(2, numbers)?)
    } else {
        match site.described(0)?.quantization.clone().filter(|_| numbers == Numbers::Stored) {
            Some(quantization) => site.graph.parameters(site.input(0)?, &quantization)?.1,
            None => None,
        }
    };
    let op = movement(Movement::Pad { mode: String::from("constant") });
    let inputs = [Some(x), Some(pads), value];
    let inputs = if value.is_some() { &inputs[..] } else { &inputs[..2] };
    site.make_plain(numbers, op, inputs)
}

/// MIRROR_PAD.
pub(super) fn mirror_pad(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let mode = match site.word("mode")? {
        "symmetric" => "symmetric",
        _ => "reflect",
    };
    let numbers = site.shared(&[0])?;
    let inputs = [Some(site.numbers(0, numbers)?), Some(pads(site)?)];
    site.make_plain(numbers, movement(Movement::Pad { mode: mode.to_owned() }), &inputs)
}

/// Elements before each axis, then those after each.
fn pads(site: &mut Site<'_, '_>) -> Mapped<ValueId> {
    let ty = site.ty(1)?;
    if let Some(pads) = site.integers(1) {
        let (rows, rest) = pads.as_chunks::<2>();
        if ty.rank() != Some(2) || !rest.is_empty() || pads.iter().any(|&pad| pad < 0) {
            return Err(
                format!("rows of two numbers of 0 or more were expected for its pads, found {ty}").into()
            );
        }
        let pads = rows.iter().map(|row| row[0]).chain(rows.iter().map(|row| row[1])).collect();
        return site.integer_list("pads", pads);
    }
    let stored = site.stored(1)?;
    let turned = Op::Transpose { permutation: vec![1, 0] };
    let turned = site.step("Transpose", turned, &[Some(stored)], ty.dtype)?;
    let all = site.integer_list("all", vec![-1])?;
    let list = site.step("Reshape", Op::Reshape, &[Some(turned), Some(all)], ty.dtype)?;
    site.wide(list, "pads")
}

/// TILE.
pub(super) fn tile(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let numbers = site.shared(&[0])?;
    let inputs = [Some(site.numbers(0, numbers)?), Some(site.list(1)?)];
    site.make_plain(numbers, movement(Movement::Tile), &inputs)
}

/// BROADCAST_TO.
pub(super) fn broadcast_to(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let numbers = site.shared(&[0])?;
    let inputs = [Some(site.numbers(0, numbers)?), Some(site.list(1)?)];
    site.make_plain(numbers, movement(Movement::Expand), &inputs)
}

/// REVERSE_V2.
pub(super) fn reverse(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let numbers = site.shared(&[0])?;
    let inputs = [Some(site.numbers(0, numbers)?), Some(site.stored(1)?)];
    site.make_plain(numbers, movement(Movement::Reverse), &inputs)
}

/// REVERSE_SEQUENCE.
pub(super) fn reverse_sequence(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let (batch_axis, time_axis) = (site.int("batch_dim")?, site.int("seq_dim")?);
    if site.shared(&[0])? == Numbers::Real {
        return keep("its result has other quantization parameters than its data");
    }
    let lengths = site.stored(1)?;
    let inputs = [Some(site.stored(0)?), Some(site.wide(lengths, "lengths")?)];
    site.store(0, movement(Movement::ReverseSequence { batch_axis, time_axis }), &inputs)
}
