//! Operators on images: to the modules that define them.

use calipers_ir::{Image, Tensor};

mod columns;
mod grid;
mod resize;

use crate::Error;
use crate::convolution::{Deformable, deformable};
use crate::inputs::Inputs;
use crate::pooling::{RoiAlign, max_roi_pool, max_unpool, roi_align};

/// The results of an operator on images.
pub(crate) fn evaluate(image: &Image, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    match image {
        Image::Resize {
            antialias,
            axes,
            coordinate_transformation_mode,
            cubic_coeff_a,
            exclude_outside,
            extrapolation_value,
            keep_aspect_ratio_policy,
            mode,
            nearest_mode,
        } => resize::resize(
            &resize::Resize {
                antialias: *antialias,
                axes: axes.as_deref(),
                coordinates: coordinate_transformation_mode,
                cubic_coeff_a: (*cubic_coeff_a).into(),
                exclude_outside: *exclude_outside,
                extrapolation_value: (*extrapolation_value).into(),
                keep_aspect_ratio_policy,
                mode,
                nearest_mode,
            },
            inputs,
        ),
        Image::GridSample { align_corners, mode, padding_mode } => {
            grid::sample(*align_corners, mode, padding_mode, inputs)
        }
        Image::AffineGrid { align_corners } => grid::affine(*align_corners, inputs),
        Image::RoiAlign {
            coordinate_transformation_mode,
            mode,
            output_height,
            output_width,
            sampling_ratio,
            spatial_scale,
        } => roi_align(
            &RoiAlign {
                coordinate_transformation_mode,
                mode,
                output_height: *output_height,
                output_width: *output_width,
                sampling_ratio: *sampling_ratio,
                spatial_scale: *spatial_scale,
            },
            inputs,
        ),
        Image::MaxRoiPool { pooled_shape, spatial_scale } => {
            max_roi_pool(pooled_shape, *spatial_scale, inputs)
        }
        Image::MaxUnpool { kernel_shape, pads, strides } => max_unpool(kernel_shape, pads, strides, inputs),
        Image::Col2Im { dilations, pads, strides } => columns::to_image(dilations, pads, strides, inputs),
        Image::DeformConv { dilations, group, kernel_shape, offset_group, pads, strides } => deformable(
            &Deformable {
                dilations,
                group: *group,
                kernel_shape,
                offset_group: *offset_group,
                pads,
                strides,
            },
            inputs,
        ),
    }
}
