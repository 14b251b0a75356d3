//! Options of operators: the fields of every options table, and their values as attributes.
//!
//! The format has a table for each kind of operator. They hold scalars, few lists and no tables, so that one list of
//! their fields serves all; fields stand in the order of their slots.

use calipers_ir::{Attribute, Attributes};

use super::schema::Options;
use super::types;

/// How a field is stored, and what it is when the file leaves it out.
#[derive(Clone, Copy)]
enum Kind {
    Bool(bool),
    Byte,
    Int(i32),
    Unsigned,
    Long,
    Float,
    /// A storage type.
    Type(i8),
    /// A choice of these, by number.
    Choice(&'static [&'static str]),
    Text,
    Bytes,
    Bools,
    Ints,
    Longs,
    Floats,
    UnsignedInts,
    /// Index of a subgraph.
    Subgraph,
    Subgraphs,
    /// A field that the format has given up.
    Unused,
}

use Kind::{
    Bool, Bools, Byte, Bytes, Choice, Float, Floats, Int, Ints, Long, Longs, Subgraph, Subgraphs, Text, Type,
    Unsigned, UnsignedInts, Unused,
};

type Fields = &'static [(&'static str, Kind)];

const PADDING: (&str, Kind) = ("padding", Choice(&["same", "valid"]));
const ACTIVATION: (&str, Kind) =
    ("fused_activation_function", Choice(&["none", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit"]));
const ASYMMETRIC: (&str, Kind) = ("asymmetric_quantize_inputs", Bool(false));
const BIAS_TYPE: (&str, Kind) = ("quantized_bias_type", Type(0));
const POWER_OF_TWO: (&str, Kind) = ("pot_scale_int16", Bool(true));
const PRECISION: (&str, Kind) = ("precision_config", UnsignedInts);

/// Fields of the tables of the first union, by its number. Tables without fields are not listed.
#[rustfmt::skip]
const FIRST: &[(u8, Fields)] = &[
    (1, &[
        PADDING, ("stride_w", Int(0)), ("stride_h", Int(0)), ACTIVATION, ("dilation_w_factor", Int(1)),
        ("dilation_h_factor", Int(1)), BIAS_TYPE,
    ]),
    (2, &[
        PADDING, ("stride_w", Int(0)), ("stride_h", Int(0)), ("depth_multiplier", Int(0)), ACTIVATION,
        ("dilation_w_factor", Int(1)), ("dilation_h_factor", Int(1)),
    ]),
    (3, &[("num_channels", Int(0)), ("num_columns_per_channel", Ints), ("embedding_dim_per_channel", Ints)]),
    (4, &[("type", Choice(&["unknown", "sparse", "dense"]))]),
    (5, &[
        PADDING, ("stride_w", Int(0)), ("stride_h", Int(0)), ("filter_width", Int(0)), ("filter_height", Int(0)),
        ACTIVATION,
    ]),
    (6, &[("rank", Int(0)), ACTIVATION, ASYMMETRIC]),
    (7, &[ACTIVATION, ASYMMETRIC]),
    (8, &[
        ACTIVATION, ("weights_format", Choice(&["default", "shuffled4x16int8"])), ("keep_num_dims", Bool(false)),
        ASYMMETRIC, BIAS_TYPE, ("quant_spec", Bytes),
    ]),
    (9, &[("beta", Float)]),
    (10, &[("axis", Int(0)), ACTIVATION]),
    (11, &[ACTIVATION, POWER_OF_TWO]),
    (12, &[ACTIVATION]),
    (13, &[("radius", Int(0)), ("bias", Float), ("alpha", Float), ("beta", Float)]),
    (14, &[
        ACTIVATION, ("cell_clip", Float), ("proj_clip", Float), ("kernel_type", Choice(&["full", "basic"])),
        ASYMMETRIC,
    ]),
    (15, &[("", Unused), ("", Unused), ("align_corners", Bool(false)), ("half_pixel_centers", Bool(false))]),
    (16, &[("subgraph", Subgraph)]),
    (17, &[("new_shape", Ints)]),
    (18, &[("ngram_size", Int(0)), ("max_skip_size", Int(0)), ("include_all_ngrams", Bool(false))]),
    (19, &[("block_size", Int(0))]),
    (20, &[("combiner", Choice(&["sum", "mean", "sqrtn"]))]),
    (21, &[ACTIVATION]),
    (23, &[("axis", Int(0)), ("batch_dims", Int(0))]),
    (27, &[("keep_dims", Bool(false))]),
    (28, &[ACTIVATION, POWER_OF_TWO]),
    (29, &[ACTIVATION]),
    (30, &[("squeeze_dims", Ints)]),
    (31, &[("time_major", Bool(false)), ACTIVATION, ASYMMETRIC]),
    (32, &[
        ("begin_mask", Int(0)), ("end_mask", Int(0)), ("ellipsis_mask", Int(0)), ("new_axis_mask", Int(0)),
        ("shrink_axis_mask", Int(0)), ("offset", Bool(false)),
    ]),
    (35, &[("num_splits", Int(0))]),
    (37, &[("in_data_type", Type(0)), ("out_data_type", Type(0))]),
    (40, &[("output_type", Type(0))]),
    (49, &[PADDING, ("stride_w", Int(0)), ("stride_h", Int(0)), ACTIVATION, BIAS_TYPE]),
    (50, &[("validate_indices", Bool(false))]),
    (55, &[("out_type", Type(0))]),
    (57, &[("output_type", Type(0))]),
    (58, &[("min", Float), ("max", Float), ("num_bits", Int(0)), ("narrow_range", Bool(false))]),
    (59, &[("values_count", Int(0)), ("axis", Int(0))]),
    (61, &[("axis", Int(0))]),
    (64, &[("num", Int(0)), ("axis", Int(0))]),
    (69, &[
        ACTIVATION, ("cell_clip", Float), ("proj_clip", Float), ("merge_outputs", Bool(false)),
        ("time_major", Bool(true)), ASYMMETRIC,
    ]),
    (70, &[("time_major", Bool(false)), ACTIVATION, ("merge_outputs", Bool(false)), ASYMMETRIC]),
    (71, &[
        ACTIVATION, ("cell_clip", Float), ("proj_clip", Float), ("time_major", Bool(false)), ASYMMETRIC,
        ("diagonal_recurrent_tensors", Bool(false)),
    ]),
    (74, &[("align_corners", Bool(false)), ("half_pixel_centers", Bool(false))]),
    (75, &[("alpha", Float)]),
    (77, &[("mode", Choice(&["reflect", "symmetric"]))]),
    (79, &[("num_splits", Int(0))]),
    (80, &[("idx_out_type", Type(2))]),
    (87, &[("seq_dim", Int(0)), ("batch_dim", Int(0))]),
    (92, &[("then_subgraph_index", Subgraph), ("else_subgraph_index", Subgraph)]),
    (93, &[("cond_subgraph_index", Subgraph), ("body_subgraph_index", Subgraph)]),
    (94, &[("block_size", Int(0))]),
    (101, &[("adj_x", Bool(false)), ("adj_y", Bool(false)), ASYMMETRIC]),
    (102, &[("exclusive", Bool(false)), ("reverse", Bool(false))]),
    (103, &[("init_subgraph_index", Subgraph)]),
    (106, &[
        PADDING, ("stride_d", Int(0)), ("stride_w", Int(0)), ("stride_h", Int(0)), ACTIVATION,
        ("dilation_d_factor", Int(1)), ("dilation_w_factor", Int(1)), ("dilation_h_factor", Int(1)),
    ]),
    (107, &[("table_id", Int(0)), ("key_dtype", Type(0)), ("value_dtype", Type(0))]),
    (111, &[("container", Text), ("shared_name", Text)]),
    (114, &[("seed", Long), ("seed2", Long)]),
    (115, &[("boundaries", Floats)]),
    (116, &[("approximate", Bool(false))]),
];

/// Fields of the tables of the second union.
#[rustfmt::skip]
const SECOND: &[(u8, Fields)] = &[
    (1, &[("dimension", Long)]),
    (2, &[("broadcast_dimensions", Longs)]),
    (3, &[("start_indices", Longs), ("limit_indices", Longs), ("strides", Longs)]),
    (4, &[
        ("window_strides", Longs), ("padding", Longs), ("lhs_dilation", Longs), ("rhs_dilation", Longs),
        ("window_reversal", Bools), ("input_batch_dimension", Long), ("input_feature_dimension", Long),
        ("input_spatial_dimensions", Longs), ("kernel_input_feature_dimension", Long),
        ("kernel_output_feature_dimension", Long), ("kernel_spatial_dimensions", Longs),
        ("output_batch_dimension", Long), ("output_feature_dimension", Long), ("output_spatial_dimensions", Longs),
        ("feature_group_count", Long), ("batch_group_count", Long), PRECISION,
    ]),
    (5, &[
        ("call_target_name", Text), ("has_side_effect", Bool(false)), ("backend_config", Text),
        ("api_version", Int(0)), ("called_computations", Subgraphs), ("custom_attributes", Bytes),
    ]),
    (6, &[("dimensions", Longs), ("body_subgraph_index", Subgraph)]),
    (7, &[
        ("indices_are_sorted", Bool(false)), ("update_window_dims", Longs), ("inserted_window_dims", Longs),
        ("scatter_dims_to_operand_dims", Longs), ("index_vector_dim", Long), ("unique_indices", Bool(false)),
        ("update_computation_subgraph_index", Subgraph),
    ]),
    (8, &[("comparison_direction", Unsigned), ("compare_type", Unsigned)]),
    (9, &[("slice_sizes", Longs)]),
    (10, &[("edge_padding_low", Longs), ("edge_padding_high", Longs), ("interior_padding", Longs)]),
    (11, &[("iota_dimension", Long)]),
    (12, &[
        ("lhs_batching_dimensions", Longs), ("rhs_batching_dimensions", Longs),
        ("lhs_contracting_dimensions", Longs), ("rhs_contracting_dimensions", Longs), PRECISION,
    ]),
    (13, &[
        ("window_dimensions", Longs), ("window_strides", Longs), ("base_dilations", Longs),
        ("window_dilations", Longs), ("padding", Longs), ("body_subgraph_index", Subgraph),
    ]),
    (14, &[("dimension", Long), ("is_stable", Bool(false)), ("comparator_subgraph_index", Subgraph)]),
    (15, &[("cond_subgraph_index", Subgraph), ("body_subgraph_index", Subgraph)]),
    (16, &[
        ("offset_dims", Longs), ("collapsed_slice_dims", Longs), ("start_index_map", Longs),
        ("index_vector_dim", Long), ("slice_sizes", Longs), ("indices_are_sorted", Bool(false)),
    ]),
    (17, &[("permutation", Longs)]),
    (19, &[("algorithm", Byte)]),
    (20, &[("reduce_function", Int(0))]),
    (21, &[
        ("name", Text), ("decomposition_subgraph_index", Subgraph), ("composite_attributes", Bytes),
        ("composite_attributes_format", Byte), ("version", Int(0)),
    ]),
    (23, &[("branch_subgraph_indices", Subgraphs)]),
];

/// The options of one operator: of either union, its number and its table.
pub(super) struct Stored<'a> {
    pub first: (u8, Option<Options<'a>>),
    pub second: (u8, Option<Options<'a>>),
}

/// Options by name, those at their defaults included. An operator without a table has none.
///
/// `subgraph` names the subgraph of an index.
///
/// # Errors
/// A field that ends outside the bytes, or the index of no subgraph.
pub(super) fn attributes(
    stored: &Stored<'_>,
    subgraph: impl Fn(i64) -> Result<String, String>,
) -> Result<Attributes, String> {
    let mut attributes = Attributes::new();
    for ((number, table), unions) in [(stored.first, FIRST), (stored.second, SECOND)] {
        let Some(table) = table else { continue };
        let Some((_, fields)) = unions.iter().find(|(listed, _)| *listed == number) else { continue };
        for (slot, &(name, kind)) in fields.iter().enumerate() {
            let field = Field { table: &table, slot };
            if let Some(value) =
                field.read(kind, &subgraph).map_err(|reason| format!("option `{name}`: {reason}"))?
            {
                attributes.insert(name.to_owned(), value);
            }
        }
    }
    Ok(attributes)
}

/// A place in a table. The verifier has checked the table's layout but not its fields, so that reading checks each.
struct Field<'a, 'b> {
    table: &'b Options<'a>,
    slot: usize,
}

impl<'a> Field<'a, '_> {
    fn read(
        &self,
        kind: Kind,
        subgraph: &impl Fn(i64) -> Result<String, String>,
    ) -> Result<Option<Attribute>, String> {
        let int = |number: i64| Attribute::Int(number);
        let named = |numbers: Vec<i64>| numbers.into_iter().map(subgraph).collect::<Result<Vec<_>, _>>();
        Ok(Some(match kind {
            Bool(absent) => int(self.scalar::<1>()?.map_or(absent, |[byte]| byte != 0).into()),
            Byte => int(self.byte(0)?.into()),
            Int(absent) => int(self.int(absent)?.into()),
            Unsigned => int(self.scalar()?.map_or(0, u32::from_le_bytes).into()),
            Long => int(self.scalar()?.map_or(0, i64::from_le_bytes)),
            Float => Attribute::Float(self.scalar()?.map_or(0.0, f32::from_le_bytes)),
            Type(absent) => {
                let code = self.byte(absent)?;
                types::dtype_of(code).map_or(int(code.into()), Attribute::Type)
            }
            Choice(names) => {
                let code = self.byte(0)?;
                let name = usize::try_from(code).ok().and_then(|index| names.get(index));
                name.map_or(int(code.into()), |name| Attribute::String(name.as_bytes().to_vec()))
            }
            Text | Bytes => match self.list::<1>()? {
                Some(bytes) => Attribute::String(bytes.as_flattened().to_vec()),
                None => return Ok(None),
            },
            Bools => Attribute::Ints(self.list_of(|[byte]: [u8; 1]| (byte != 0).into())?),
            Ints => Attribute::Ints(self.list_of(|bytes| i32::from_le_bytes(bytes).into())?),
            UnsignedInts => Attribute::Ints(self.list_of(|bytes| u32::from_le_bytes(bytes).into())?),
            Longs => Attribute::Ints(self.list_of(i64::from_le_bytes)?),
            Floats => {
                let list = self.list::<4>()?.unwrap_or_default();
                Attribute::Floats(list.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
            }
            Subgraph => Attribute::Graph(subgraph(self.int(0)?.into())?),
            Subgraphs => Attribute::Graphs(named(self.list_of(|bytes| i32::from_le_bytes(bytes).into())?)?),
            Unused => return Ok(None),
        }))
    }

    fn byte(&self, absent: i8) -> Result<i8, String> {
        Ok(self.scalar()?.map_or(absent, i8::from_le_bytes))
    }

    fn int(&self, absent: i32) -> Result<i32, String> {
        Ok(self.scalar()?.map_or(absent, i32::from_le_bytes))
    }

    /// Where the field stands; `None` where the file leaves it out.
    fn position(&self) -> Option<usize> {
        let layout = self.table._tab.vtable();
        // A layout begins with two sizes of two bytes.
        let entry = u16::try_from(4 + 2 * self.slot).ok()?;
        match layout.get(entry) {
            0 => None,
            offset => self.table._tab.loc().checked_add(offset.into()),
        }
    }

    fn scalar<const N: usize>(&self) -> Result<Option<[u8; N]>, String> {
        self.position().map(|position| at(self.table._tab.buf(), position)).transpose()
    }

    /// A list of scalars, as their bytes.
    fn list<const N: usize>(&self) -> Result<Option<&'a [[u8; N]]>, String> {
        let Some(position) = self.position() else { return Ok(None) };
        let bytes = self.table._tab.buf();
        let begin = position.saturating_add(u32::from_le_bytes(at(bytes, position)?) as usize);
        let elements = u32::from_le_bytes(at(bytes, begin)?) as usize;
        let data = begin.saturating_add(4);
        let range = data..data.saturating_add(elements.saturating_mul(N));
        let found = bytes.get(range).ok_or("the list ends after the file")?;
        Ok(Some(found.as_chunks().0))
    }

    fn list_of<const N: usize>(&self, number: impl Fn([u8; N]) -> i64) -> Result<Vec<i64>, String> {
        Ok(self.list()?.unwrap_or_default().iter().map(|&bytes| number(bytes)).collect())
    }
}

fn at<const N: usize>(bytes: &[u8], position: usize) -> Result<[u8; N], String> {
    let found = bytes.get(position..).and_then(|bytes| bytes.first_chunk());
    found.copied().ok_or_else(|| String::from("it ends after the file"))
}
