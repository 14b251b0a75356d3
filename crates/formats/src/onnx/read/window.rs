//! Strides, dilations and pads of sliding windows, with pads that are to be chosen resolved.

use calipers_ir::Window;

use super::super::attributes::NodeAttributes;

/// Strides, dilations and pads; `None` where `auto_pad` asks for extents that are not known.
pub(super) fn forward(
    attributes: &mut NodeAttributes<'_>,
    kernel: &[Option<usize>],
    extents: Option<Vec<Option<usize>>>,
) -> Result<Option<Window>, String> {
    let (mut window, auto_pad) = stated(attributes, kernel.len())?;
    let lower = match auto_pad {
        AutoPad::None | AutoPad::Valid => return Ok(Some(window)),
        AutoPad::Same { lower } => lower,
    };
    for (axis, &taps) in kernel.iter().enumerate() {
        let Some(taps) = taps else { return Ok(None) };
        let stride = window.strides[axis];
        let reach = reach(taps, window.dilations[axis])?;
        let extent = extents.as_ref().and_then(|extents| extents.get(axis).copied().flatten());
        let total = match extent {
            // The last window begins at the last element.
            _ if stride == 1 => reach - 1,
            Some(extent) => {
                let covered = (extent.div_ceil(stride).max(1) - 1).checked_mul(stride);
                let end = covered.and_then(|covered| covered.checked_add(reach));
                end.ok_or("the kernel's extent overflows")?.saturating_sub(extent)
            }
            None => return Ok(None),
        };
        (window.pads_begin[axis], window.pads_end[axis]) = halves(total, lower);
    }
    Ok(Some(window))
}

/// The same of a transposed convolution, with the output padding. Where the extents of the output are given, they
/// decide the pads.
pub(super) fn transposed(
    attributes: &mut NodeAttributes<'_>,
    kernel: &[Option<usize>],
    extents: Option<Vec<Option<usize>>>,
) -> Result<Option<(Window, Vec<usize>)>, String> {
    let axes = kernel.len();
    let (mut window, auto_pad) = stated(attributes, axes)?;
    let mut output_padding =
        counted(axes, "output_padding", attributes.sizes("output_padding", 0)?, axes, 0)?;
    let shape = attributes.sizes("output_shape", 0)?;
    // Some writers give the batch and channels, too.
    let shape = shape.map(|shape| shape[shape.len().saturating_sub(axes)..].to_vec());
    if shape.as_ref().is_some_and(|shape| shape.len() != axes) {
        return Err(format!("attribute `output_shape`: expected {axes} extents, found fewer"));
    }
    let lower = match (&auto_pad, &shape) {
        (AutoPad::None | AutoPad::Valid, None) => return Ok(Some((window, output_padding))),
        (AutoPad::Same { lower }, _) => *lower,
        (AutoPad::None | AutoPad::Valid, Some(_)) => true,
    };
    for (axis, &taps) in kernel.iter().enumerate() {
        let Some(taps) = taps else { return Ok(None) };
        let stride = window.strides[axis];
        let reach = reach(taps, window.dilations[axis])?;
        let whole = |steps: usize| steps.checked_add(reach)?.checked_add(output_padding[axis]);
        let (whole, wanted) = match &shape {
            Some(shape) => {
                let extent = extents.as_ref().and_then(|extents| extents.get(axis).copied().flatten());
                let Some(extent) = extent else { return Ok(None) };
                (extent.saturating_sub(1).checked_mul(stride).and_then(whole), shape[axis])
            }
            // The output is to have `stride` times the input's extent: one step more than the windows take.
            None => (whole(0), stride),
        };
        let whole = whole.ok_or("the output's extent overflows")?;
        (window.pads_begin[axis], window.pads_end[axis]) = halves(whole.saturating_sub(wanted), lower);
        output_padding[axis] += wanted.saturating_sub(whole);
    }
    Ok(Some((window, output_padding)))
}

/// How pads are chosen that are not given.
enum AutoPad {
    None,
    Valid,
    Same { lower: bool },
}

/// What the attributes say.
fn stated(attributes: &mut NodeAttributes<'_>, axes: usize) -> Result<(Window, AutoPad), String> {
    let strides = counted(axes, "strides", attributes.sizes("strides", 1)?, axes, 1)?;
    let dilations = counted(axes, "dilations", attributes.sizes("dilations", 1)?, axes, 1)?;
    let pads = counted(axes, "pads", attributes.sizes("pads", 0)?, 2 * axes, 0)?;
    let auto_pad = match attributes.string("auto_pad")? {
        None | Some(b"NOTSET") => AutoPad::None,
        Some(_) if pads.iter().any(|&pad| pad != 0) => {
            return Err(String::from(
                "attributes `pads` and `auto_pad` are both given; expected one of them",
            ));
        }
        Some(b"VALID") => AutoPad::Valid,
        Some(b"SAME_UPPER") => AutoPad::Same { lower: false },
        Some(b"SAME_LOWER") => AutoPad::Same { lower: true },
        Some(other) => {
            return Err(format!(
                "attribute `auto_pad`: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, found {}",
                String::from_utf8_lossy(other)
            ));
        }
    };
    let window =
        Window { strides, dilations, pads_begin: pads[..axes].to_vec(), pads_end: pads[axes..].to_vec() };
    Ok((window, auto_pad))
}

fn counted(
    axes: usize,
    name: &str,
    numbers: Option<Vec<usize>>,
    count: usize,
    default: usize,
) -> Result<Vec<usize>, String> {
    match numbers {
        None => Ok(vec![default; count]),
        Some(numbers) if numbers.len() == count => Ok(numbers),
        Some(numbers) => Err(format!(
            "attribute `{name}`: expected {count} numbers for {axes} spatial axes, found {}",
            numbers.len()
        )),
    }
}

/// Elements from the first to the last tap.
fn reach(taps: usize, dilation: usize) -> Result<usize, String> {
    let reach = taps.checked_sub(1).and_then(|gaps| gaps.checked_mul(dilation)?.checked_add(1));
    reach.ok_or_else(|| String::from("the kernel's extent overflows"))
}

/// A padding in two, the odd element before or after.
fn halves(total: usize, lower: bool) -> (usize, usize) {
    let smaller = total / 2;
    if lower { (total - smaller, smaller) } else { (smaller, total - smaller) }
}
