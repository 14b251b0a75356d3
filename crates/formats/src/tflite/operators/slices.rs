//! SLICE and STRIDED_SLICE.

use calipers_ir::{Activation, BinaryKind, DType, Movement, Op, Select, Tensor, ValueId};

use super::super::read::{Mapped, Numbers, Site, keep};

/// SLICE: inputs are the data, where it begins, and extents, of which -1 takes what is left.
pub(super) fn slice(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(3, 3, 1)?;
    let numbers = site.shared(&[0])?;
    let (starts, ends) = match (site.integers(1), site.integers(2)) {
        (Some(begin), Some(size)) if begin.len() == size.len() => {
            let end =
                |(&begin, &size): (&i64, &i64)| if size < 0 { i64::MAX } else { begin.saturating_add(size) };
            let ends = begin.iter().zip(&size).map(end).collect();
            (site.integer_list("starts", begin)?, site.integer_list("ends", ends)?)
        }
        (Some(begin), Some(size)) => {
            return Err(
                format!("as many extents as beginnings were expected, found {size:?} and {begin:?}").into()
            );
        }
        _ => {
            let (begin, size) = (site.list(1)?, site.list(2)?);
            let open = site.integer_list("zero", vec![0])?;
            let last = site.integer_list("last", vec![i64::MAX])?;
            let of = |kind| Op::Binary(kind, Activation::None);
            let sum = site.step("Add", of(BinaryKind::Add), &[Some(begin), Some(size)], DType::I64)?;
            let rest = site.step("Less", of(BinaryKind::Less), &[Some(size), Some(open)], DType::Bool)?;
            let choice = [Some(rest), Some(last), Some(sum)];
            (begin, site.step("Where", Op::Select(Select::Where), &choice, DType::I64)?)
        }
    };
    let x = site.numbers(0, numbers)?;
    site.make_plain(numbers, Op::Movement(Movement::Slice), &[Some(x), Some(starts), Some(ends)])
}

/// What STRIDED_SLICE takes of one axis of its data.
struct Range {
    axis: i64,
    start: i64,
    end: i64,
    step: i64,
}

/// STRIDED_SLICE: inputs are the data, beginnings, ends and steps; bits of its masks change what a position means.
pub(super) fn strided_slice(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(4, 4, 1)?;
    let (Some(begin), Some(end), Some(steps)) = (site.integers(1), site.integers(2), site.integers(3)) else {
        return computed(site);
    };
    if begin.len() != end.len() || begin.len() != steps.len() || begin.len() > 32 {
        return Err(format!(
            "as many ends and steps as beginnings were expected: {begin:?}, {end:?}, {steps:?}"
        )
        .into());
    }
    let mut masks = [0; 5];
    for (mask, name) in masks.iter_mut().zip(["begin", "end", "ellipsis", "new_axis", "shrink_axis"]) {
        *mask = site.int(&format!("{name}_mask"))?;
    }
    let bit = |mask: usize, position: usize| masks[mask] >> position & 1 == 1;
    let [from_begin, to_end, ellipsis, new_axis, shrink] = [0, 1, 2, 3, 4];
    let rank = site.shape(0)?.len() as i64;
    let (mut ranges, mut inserted, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    // Axis of the data, and axis of the result.
    let (mut axis, mut place) = (0, 0);
    let offset = site.flag("offset");
    for position in 0..begin.len() {
        if bit(ellipsis, position) {
            let later = (position + 1..begin.len()).filter(|&later| !bit(new_axis, later)).count() as i64;
            let taken = (rank - later - axis).max(0);
            axis += taken;
            place += taken;
            continue;
        }
        if bit(new_axis, position) {
            inserted.push(place);
            place += 1;
            continue;
        }
        let (start, step) = (begin[position], steps[position]);
        let end = if offset { start.saturating_add(end[position]) } else { end[position] };
        if step == 0 {
            return Err("a step is 0".into());
        }
        if bit(shrink, position) {
            let end = if start == -1 { i64::MAX } else { start.saturating_add(1) };
            let start = if bit(from_begin, position) { 0 } else { start };
            let end = if bit(from_begin, position) { 1 } else { end };
            ranges.push(Range { axis, start, end, step: 1 });
            removed.push(axis);
        } else {
            let (first, last) = if step > 0 { (0, i64::MAX) } else { (i64::MAX, i64::MIN) };
            let start = if bit(from_begin, position) { first } else { start };
            let end = if bit(to_end, position) { last } else { end };
            ranges.push(Range { axis, start, end, step });
            place += 1;
        }
        axis += 1;
    }
    if axis > rank {
        return Err(format!("its data have {rank} axes, fewer than it slices").into());
    }
    let numbers = site.shared(&[0])?;
    let x = site.numbers(0, numbers)?;
    sliced(site, numbers, x, &ranges, removed, inserted)
}

/// Slices, then removes axes of extent 1, then inserts such.
fn sliced(
    site: &mut Site<'_, '_>,
    numbers: Numbers,
    x: ValueId,
    ranges: &[Range],
    removed: Vec<i64>,
    inserted: Vec<i64>,
) -> Mapped {
    let field = |of: fn(&Range) -> i64| ranges.iter().map(of).collect::<Vec<_>>();
    let mut last = (Op::Movement(Movement::Slice), vec![Some(x)]);
    for (ending, list) in [
        ("starts", field(|range| range.start)),
        ("ends", field(|range| range.end)),
        ("axes", field(|range| range.axis)),
        ("steps", field(|range| range.step)),
    ] {
        last.1.push(Some(site.integer_list(ending, list)?));
    }
    for (op, axes) in [(Movement::Squeeze, removed), (Movement::Unsqueeze, inserted)] {
        if axes.is_empty() {
            continue;
        }
        let (before, inputs) = last;
        let dtype = site.graph.editor.value(x).ty.dtype;
        let name = before.name().to_owned();
        let value = site.step(&name, before, &inputs, dtype)?;
        let axes = site.integer_list("axes", axes)?;
        last = (Op::Movement(op), vec![Some(value), Some(axes)]);
    }
    site.make_plain(numbers, last.0, &last.1)
}

/// A slice of the first axes with computed bounds, without new axes and ellipsis. An axis of which one position is taken
/// goes away.
fn computed(site: &mut Site<'_, '_>) -> Mapped {
    let Some(steps) = site.integers(3) else { return keep("its steps are computed") };
    let [begin_mask, end_mask, shrink] =
        [site.int("begin_mask")?, site.int("end_mask")?, site.int("shrink_axis_mask")?];
    let axes = site.int("ellipsis_mask")? | site.int("new_axis_mask")?;
    if axes != 0 || site.flag("offset") || steps.len() > 32 || steps.iter().any(|&step| step <= 0) {
        return keep("its bounds are computed");
    }
    let bits = |mask: i64| (0..steps.len()).map(move |position| mask >> position & 1 == 1);
    let numbers = site.shared(&[0])?;
    let (begin, end) = (site.list(1)?, site.list(2)?);
    let starts = chosen(site, "starts", bits(begin_mask).collect(), 0, begin)?;
    let mut ends = chosen(site, "ends", bits(end_mask).collect(), i64::MAX, end)?;
    if shrink != 0 {
        let of = |kind| Op::Binary(kind, Activation::None);
        let one = site.integer_list("one", vec![1])?;
        let zero = site.integer_list("zero", vec![0])?;
        let last = site.integer_list("last", vec![i64::MAX])?;
        let next = site.step("Add", of(BinaryKind::Add), &[Some(starts), Some(one)], DType::I64)?;
        // The position after the last one, counted from the end, is 0.
        let over = site.step("Equal", of(BinaryKind::Equal), &[Some(next), Some(zero)], DType::Bool)?;
        let choice = [Some(over), Some(last), Some(next)];
        let next = site.step("Where", Op::Select(Select::Where), &choice, DType::I64)?;
        let mask = bits(shrink).map(u8::from).collect::<Vec<_>>();
        let mask = site.add_constant("shrunk", Tensor::new(DType::Bool, [steps.len()], mask.into()))?;
        let choice = [Some(mask), Some(next), Some(ends)];
        ends = site.step("Where", Op::Select(Select::Where), &choice, DType::I64)?;
    }
    let axes = site.integer_list("axes", (0..steps.len() as i64).collect())?;
    let removed: Vec<i64> =
        (0..).zip(bits(shrink)).filter(|(_, shrunk)| *shrunk).map(|(axis, _)| axis).collect();
    let steps = site.integer_list("steps", steps)?;
    let x = site.numbers(0, numbers)?;
    let inputs = [Some(x), Some(starts), Some(ends), Some(axes), Some(steps)];
    if removed.is_empty() {
        return site.make_plain(numbers, Op::Movement(Movement::Slice), &inputs);
    }
    let dtype = site.graph.editor.value(x).ty.dtype;
    let rows = site.step("Slice", Op::Movement(Movement::Slice), &inputs, dtype)?;
    let removed = site.integer_list("removed", removed)?;
    site.make_plain(numbers, Op::Movement(Movement::Squeeze), &[Some(rows), Some(removed)])
}

/// The list, with a number where the mask is set.
fn chosen(
    site: &mut Site<'_, '_>,
    ending: &str,
    mask: Vec<bool>,
    number: i64,
    list: ValueId,
) -> Mapped<ValueId> {
    if !mask.contains(&true) {
        return Ok(list);
    }
    let bits: Vec<u8> = mask.iter().map(|&bit| bit.into()).collect();
    let mask =
        site.add_constant(&format!("{ending}_mask"), Tensor::new(DType::Bool, [bits.len()], bits.into()))?;
    let number = site.integer_list(&format!("{ending}_default"), vec![number])?;
    let choice = [Some(mask), Some(number), Some(list)];
    site.step(&format!("Where_{ending}"), Op::Select(Select::Where), &choice, DType::I64)
}
