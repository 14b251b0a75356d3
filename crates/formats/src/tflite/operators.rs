//! Operators of the format as operators of the representation: which becomes what.

mod elementwise;
mod indexing;
mod movement;
mod product;
mod recurrent;
mod reduction;
mod shapes;
mod slices;
mod spatial;
mod window;

use calipers_ir::{BinaryKind, Control, Op, Reduce, UnaryKind, VariadicKind};

use super::read::{Mapped, Refusal, Site, keep};
use super::schema::BuiltinOperator as Builtin;
use super::{CUSTOM_DOMAIN, DOMAIN};

/// Adds the nodes of an operator: those that state it, or else the operator itself with the reason why it is kept.
///
/// # Errors
/// The rule of the format that the operator breaks.
pub(super) fn add(mut site: Site<'_, '_>) -> Result<(), String> {
    let domain = if site.op == Builtin::CUSTOM { CUSTOM_DOMAIN } else { DOMAIN };
    match state(&mut site) {
        Ok(()) => Ok(()),
        Err(Refusal::Keep(reason)) => site.opaque(domain, &reason),
        Err(Refusal::Malformed(reason)) => Err(reason),
    }
}

fn state(site: &mut Site<'_, '_>) -> Mapped {
    let gelu = || {
        let approximate = String::from(if site.flag("approximate") { "tanh" } else { "none" });
        UnaryKind::Gelu { approximate }
    };
    match site.op {
        Builtin::CONV_2D => window::convolution(site),
        Builtin::DEPTHWISE_CONV_2D => window::depthwise(site),
        Builtin::CONV_3D => window::convolution_3d(site),
        Builtin::TRANSPOSE_CONV => window::transposed(site, 2),
        Builtin::CONV_3D_TRANSPOSE => window::transposed(site, 3),
        Builtin::AVERAGE_POOL_2D | Builtin::MAX_POOL_2D | Builtin::L2_POOL_2D => window::pool(site),

        Builtin::FULLY_CONNECTED => product::fully_connected(site),
        Builtin::BATCH_MATMUL => product::batch_matmul(site),
        Builtin::EMBEDDING_LOOKUP => product::embedding_lookup(site),
        Builtin::UNIDIRECTIONAL_SEQUENCE_LSTM => recurrent::lstm(site),

        Builtin::ADD => elementwise::binary(site, BinaryKind::Add),
        Builtin::SUB => elementwise::binary(site, BinaryKind::Sub),
        Builtin::MUL => elementwise::binary(site, BinaryKind::Mul),
        Builtin::DIV => elementwise::binary(site, BinaryKind::Div),
        Builtin::POW => elementwise::binary(site, BinaryKind::Pow),
        Builtin::FLOOR_DIV => elementwise::binary(site, BinaryKind::FloorDiv),
        Builtin::FLOOR_MOD => elementwise::binary(site, BinaryKind::FloorMod),
        Builtin::SQUARED_DIFFERENCE => elementwise::binary(site, BinaryKind::SquaredDifference),
        Builtin::ATAN2 => elementwise::binary(site, BinaryKind::Atan2),
        Builtin::PRELU => elementwise::binary(site, BinaryKind::PRelu),
        Builtin::LOGICAL_AND => elementwise::binary(site, BinaryKind::And),
        Builtin::LOGICAL_OR => elementwise::binary(site, BinaryKind::Or),
        Builtin::BITWISE_XOR => elementwise::bitwise_xor(site),
        Builtin::MAXIMUM => elementwise::extreme(site, VariadicKind::Max),
        Builtin::MINIMUM => elementwise::extreme(site, VariadicKind::Min),
        Builtin::ADD_N => elementwise::sum(site),
        Builtin::EQUAL => elementwise::comparison(site, BinaryKind::Equal),
        Builtin::NOT_EQUAL => elementwise::comparison(site, BinaryKind::NotEqual),
        Builtin::GREATER => elementwise::comparison(site, BinaryKind::Greater),
        Builtin::GREATER_EQUAL => elementwise::comparison(site, BinaryKind::GreaterOrEqual),
        Builtin::LESS => elementwise::comparison(site, BinaryKind::Less),
        Builtin::LESS_EQUAL => elementwise::comparison(site, BinaryKind::LessOrEqual),

        Builtin::RELU => elementwise::unary(site, UnaryKind::Relu),
        Builtin::RELU6 => elementwise::limit(site, 0.0, 6.0),
        Builtin::RELU_N1_TO_1 => elementwise::limit(site, -1.0, 1.0),
        Builtin::RELU_0_TO_1 => elementwise::limit(site, 0.0, 1.0),
        Builtin::LEAKY_RELU => {
            let alpha = site.float("alpha")?;
            elementwise::unary(site, UnaryKind::LeakyRelu { alpha })
        }
        Builtin::ELU => elementwise::unary(site, UnaryKind::Elu { alpha: 1.0 }),
        Builtin::LOGISTIC => elementwise::unary(site, UnaryKind::Sigmoid),
        Builtin::TANH => elementwise::unary(site, UnaryKind::Tanh),
        Builtin::HARD_SWISH => elementwise::unary(site, UnaryKind::HardSwish),
        Builtin::GELU => {
            let kind = gelu();
            elementwise::unary(site, kind)
        }
        Builtin::ABS => elementwise::unary(site, UnaryKind::Abs),
        Builtin::EXP => elementwise::unary(site, UnaryKind::Exp),
        Builtin::LOG => elementwise::unary(site, UnaryKind::Log),
        Builtin::SQRT => elementwise::unary(site, UnaryKind::Sqrt),
        Builtin::RSQRT => elementwise::unary(site, UnaryKind::Rsqrt),
        Builtin::SQUARE => elementwise::unary(site, UnaryKind::Square),
        Builtin::NEG => elementwise::unary(site, UnaryKind::Neg),
        Builtin::FLOOR => elementwise::unary(site, UnaryKind::Floor),
        Builtin::CEIL => elementwise::unary(site, UnaryKind::Ceil),
        Builtin::ROUND => elementwise::unary(site, UnaryKind::Round),
        Builtin::SIN => elementwise::unary(site, UnaryKind::Sin),
        Builtin::COS => elementwise::unary(site, UnaryKind::Cos),
        Builtin::SIGN => elementwise::unary(site, UnaryKind::Sign),
        Builtin::LOGICAL_NOT => elementwise::unary(site, UnaryKind::Not),
        Builtin::CAST => elementwise::cast_to_declared(site),
        Builtin::BITCAST => elementwise::bit_cast(site),
        Builtin::SELECT | Builtin::SELECT_V2 => elementwise::select(site),
        Builtin::QUANTIZE => elementwise::quantize(site),
        Builtin::DEQUANTIZE => elementwise::dequantize(site),

        Builtin::SOFTMAX => reduction::softmax(site),
        Builtin::LOG_SOFTMAX => reduction::log_softmax(site),
        Builtin::L2_NORMALIZATION => reduction::l2_normalization(site),
        Builtin::LOCAL_RESPONSE_NORMALIZATION => spatial::local_response_normalization(site),
        Builtin::MEAN => reduction::reduce(site, |keepdims, noop_with_empty_axes| Reduce::Mean {
            keepdims,
            noop_with_empty_axes,
        }),
        Builtin::SUM => reduction::reduce(site, |keepdims, noop_with_empty_axes| Reduce::Sum {
            keepdims,
            noop_with_empty_axes,
        }),
        Builtin::REDUCE_PROD => reduction::reduce(site, |keepdims, noop_with_empty_axes| Reduce::Prod {
            keepdims,
            noop_with_empty_axes,
        }),
        Builtin::REDUCE_MAX => reduction::reduce_shared(site, |keepdims, noop_with_empty_axes| Reduce::Max {
            keepdims,
            noop_with_empty_axes,
        }),
        Builtin::REDUCE_MIN => reduction::reduce_shared(site, |keepdims, noop_with_empty_axes| Reduce::Min {
            keepdims,
            noop_with_empty_axes,
        }),
        Builtin::REDUCE_ANY => reduction::reduce(site, |keepdims, noop_with_empty_axes| Reduce::Any {
            keepdims,
            noop_with_empty_axes,
        }),
        Builtin::REDUCE_ALL => reduction::reduce(site, |keepdims, noop_with_empty_axes| Reduce::All {
            keepdims,
            noop_with_empty_axes,
        }),
        Builtin::ARG_MAX => reduction::position_of_extreme(site, true),
        Builtin::ARG_MIN => reduction::position_of_extreme(site, false),
        Builtin::CUMSUM => reduction::cumulative_sum(site),
        Builtin::TOPK_V2 => reduction::top_k(site),

        Builtin::RESHAPE => movement::reshape(site),
        Builtin::SQUEEZE => movement::squeeze(site),
        Builtin::EXPAND_DIMS => movement::expand_dims(site),
        Builtin::TRANSPOSE => movement::transpose(site),
        Builtin::CONCATENATION => movement::concatenation(site),
        Builtin::PACK => movement::pack(site),
        Builtin::UNPACK => movement::unpack(site),
        Builtin::SPLIT => movement::split(site),
        Builtin::SPLIT_V => movement::split_by_sizes(site),
        Builtin::PAD | Builtin::PADV2 => movement::pad(site),
        Builtin::MIRROR_PAD => movement::mirror_pad(site),
        Builtin::TILE => movement::tile(site),
        Builtin::BROADCAST_TO => movement::broadcast_to(site),
        Builtin::REVERSE_V2 => movement::reverse(site),
        Builtin::REVERSE_SEQUENCE => movement::reverse_sequence(site),
        Builtin::SLICE => slices::slice(site),
        Builtin::STRIDED_SLICE => slices::strided_slice(site),

        Builtin::GATHER => indexing::gather(site),
        Builtin::GATHER_ND => indexing::gather_nd(site),
        Builtin::SCATTER_ND => indexing::scatter_nd(site),
        Builtin::ONE_HOT => indexing::one_hot(site),
        Builtin::WHERE => indexing::positions_of_true(site),

        Builtin::SHAPE => shapes::shape(site),
        Builtin::RANK => shapes::rank(site),
        Builtin::RANGE => shapes::range(site),
        Builtin::FILL => shapes::fill(site),
        Builtin::ZEROS_LIKE => shapes::zeros_like(site),

        Builtin::RESIZE_BILINEAR => spatial::resize_bilinear(site),
        Builtin::RESIZE_NEAREST_NEIGHBOR => spatial::resize_nearest(site),
        Builtin::SPACE_TO_DEPTH => spatial::depth(site, false),
        Builtin::DEPTH_TO_SPACE => spatial::depth(site, true),
        Builtin::SPACE_TO_BATCH_ND => spatial::space_to_batch(site),
        Builtin::BATCH_TO_SPACE_ND => spatial::batch_to_space(site),

        Builtin::IF => conditional(site),
        Builtin::WHILE => {
            let (cond, body) = (site.subgraph("cond_subgraph_index")?, site.subgraph("body_subgraph_index")?);
            let inputs = all_stored(site)?;
            site.store_all(Op::Control(Control::While { cond, body }), &inputs)
        }
        Builtin::CUSTOM => keep("it is a custom operator"),
        _ => keep("no operator of the representation computes it"),
    }
}

fn conditional(site: &mut Site<'_, '_>) -> Mapped {
    let then_branch = site.subgraph("then_subgraph_index")?;
    let else_branch = site.subgraph("else_subgraph_index")?;
    let inputs = all_stored(site)?;
    let captures = inputs.len().checked_sub(1).ok_or("it has no condition")? as i64;
    site.store_all(Op::Control(Control::If { then_branch, else_branch, captures }), &inputs)
}

fn all_stored(site: &mut Site<'_, '_>) -> Mapped<Vec<Option<calipers_ir::ValueId>>> {
    (0..site.inputs.len()).map(|position| site.stored(position).map(Some)).collect()
}
