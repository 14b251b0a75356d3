//! Embeddings: rows taken from a table of integers and dequantized behind.

use calipers_ir::{DType, DequantizeLinear, Dim, Indexing, Node, Op, TensorType, ValueId};

use super::Insertion;
use crate::{ConstantAssignment, QuantError};

impl Insertion<'_> {
    /// `Gather(table, i)` with a table of 8-bit integers.
    ///
    /// Before: `y = Gather(table, i)`. After, with one scale for each row or for each group of it: `y =
    /// DequantizeLinear(Gather(table_quantized, i), Gather(table_scale, i), Gather(table_zero_point, i))`, blocked along
    /// the last axis; with one scale for all, `y = DequantizeLinear(Gather(table_quantized, i), scale, zero_point)`.
    pub(super) fn add_lookup(&mut self, node: &Node, table: &ConstantAssignment) -> Result<(), QuantError> {
        let (Some(id), Some(indices), [output]) = (node.input(0), node.input(1), node.outputs.as_slice())
        else {
            return Err(super::not_constant(&table.name));
        };
        let graph = self.graph;
        let result = graph.value(*output);
        let indices = self.source(indices, false);
        let gather = Op::Indexing(Indexing::Gather { axis: 0, batch_dims: 0 });
        let (quantized, mut scale, mut zero_point) = self.add_integers(table, id)?;
        let take = |insertion: &mut Self, node: String, from: ValueId, output: String, ty: TensorType| {
            let inputs = [Some(from), Some(indices)];
            Ok::<_, QuantError>(
                insertion.editor.add_typed_node(node, gather.clone(), &inputs, vec![(output, ty)])?[0],
            )
        };
        let ty = TensorType { dtype: table.parameters.dtype.dtype(), ..result.ty.clone() };
        let integers = self.fresh(format!("{}_quantized", result.name));
        let rows = take(self, node.name.clone(), quantized, integers, ty)?;
        let mut axis = 1;
        if let Some(block) = table.parameters.block {
            axis = -1;
            let extent = graph.value(id).ty.known_shape().and_then(|shape| shape.last().copied());
            let blocks = extent.unwrap_or(1).div_ceil(block.max(1));
            let mut shape = result.ty.shape.clone();
            if let Some(last) = shape.as_mut().and_then(|shape| shape.last_mut()) {
                *last = Dim::Known(blocks);
            }
            let of = |dtype: DType| TensorType { dtype, shape: shape.clone() };
            let name = self.fresh(format!("{}_scale_Gather", result.name));
            let made = self.fresh(format!("{}_scale", result.name));
            scale = take(self, name, scale, made, of(DType::F32))?;
            let name = self.fresh(format!("{}_zero_point_Gather", result.name));
            let made = self.fresh(format!("{}_zero_point", result.name));
            zero_point = take(self, name, zero_point, made, of(table.parameters.dtype.dtype()))?;
        }
        let block_size = table.parameters.block.unwrap_or(0);
        let dequantize = Op::DequantizeLinear(DequantizeLinear { axis, block_size });
        let name = self.fresh(format!("{}_DequantizeLinear", result.name));
        let inputs = [Some(rows), Some(scale), Some(zero_point)];
        let outputs = vec![(result.name.clone(), result.ty.clone())];
        let ids = self.editor.add_typed_node(name, dequantize, &inputs, outputs)?;
        self.finish_node(node, ids, false)
    }
}
