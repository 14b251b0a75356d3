//! Storage types and shapes of ONNX, and ours.

use calipers_ir::{DType, Dim, TensorType};

use super::messages::{
    DataType, Dimension, DimensionValue, TensorShapeProto, TensorTypeProto, TypeProto, TypeValue,
    ValueInfoProto,
};

/// The storage type of a number of `TensorProto.DataType`, or what is wrong with it.
pub(super) fn dtype_of(code: i64) -> Result<DType, String> {
    let known = i32::try_from(code).ok().and_then(|code| DataType::try_from(code).ok());
    Ok(match known {
        Some(DataType::Float) => DType::F32,
        Some(DataType::Uint8) => DType::U8,
        Some(DataType::Int8) => DType::I8,
        Some(DataType::Uint16) => DType::U16,
        Some(DataType::Int16) => DType::I16,
        Some(DataType::Int32) => DType::I32,
        Some(DataType::Int64) => DType::I64,
        Some(DataType::String) => DType::String,
        Some(DataType::Bool) => DType::Bool,
        Some(DataType::Float16) => DType::F16,
        Some(DataType::Double) => DType::F64,
        Some(DataType::Uint32) => DType::U32,
        Some(DataType::Uint64) => DType::U64,
        Some(DataType::Complex64) => DType::Complex64,
        Some(DataType::Complex128) => DType::Complex128,
        Some(DataType::Bfloat16) => DType::BF16,
        Some(DataType::Float8e4m3fn) => DType::F8E4M3Fn,
        Some(DataType::Float8e4m3fnuz) => DType::F8E4M3FnUz,
        Some(DataType::Float8e5m2) => DType::F8E5M2,
        Some(DataType::Float8e5m2fnuz) => DType::F8E5M2FnUz,
        Some(DataType::Uint4) => DType::U4,
        Some(DataType::Int4) => DType::I4,
        Some(DataType::Float4e2m1) => DType::F4E2M1,
        Some(DataType::Float8e8m0) => DType::F8E8M0,
        Some(DataType::Uint2) => DType::U2,
        Some(DataType::Int2) => DType::I2,
        Some(DataType::Undefined) => return Err(String::from("the data type is not given")),
        Some(DataType::Float6e2m3 | DataType::Float6e3m2) => {
            return Err(String::from("6-bit floats are not supported"));
        }
        None => return Err(format!("data type {code} is unknown; 1 to 26 are read")),
    })
}

/// The number of `TensorProto.DataType`.
pub(super) fn code_of(dtype: DType) -> i32 {
    let code = match dtype {
        DType::Bool => DataType::Bool,
        DType::I2 => DataType::Int2,
        DType::I4 => DataType::Int4,
        DType::I8 => DataType::Int8,
        DType::I16 => DataType::Int16,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::U2 => DataType::Uint2,
        DType::U4 => DataType::Uint4,
        DType::U8 => DataType::Uint8,
        DType::U16 => DataType::Uint16,
        DType::U32 => DataType::Uint32,
        DType::U64 => DataType::Uint64,
        DType::F4E2M1 => DataType::Float4e2m1,
        DType::F8E4M3Fn => DataType::Float8e4m3fn,
        DType::F8E4M3FnUz => DataType::Float8e4m3fnuz,
        DType::F8E5M2 => DataType::Float8e5m2,
        DType::F8E5M2FnUz => DataType::Float8e5m2fnuz,
        DType::F8E8M0 => DataType::Float8e8m0,
        DType::F16 => DataType::Float16,
        DType::BF16 => DataType::Bfloat16,
        DType::F32 => DataType::Float,
        DType::F64 => DataType::Double,
        DType::Complex64 => DataType::Complex64,
        DType::Complex128 => DataType::Complex128,
        DType::String => DataType::String,
    };
    code as i32
}

/// The first version of the file format that has a storage type.
pub(super) fn ir_version_of(dtype: DType) -> i64 {
    match dtype {
        DType::F8E4M3Fn | DType::F8E4M3FnUz | DType::F8E5M2 | DType::F8E5M2FnUz => 9,
        DType::I4 | DType::U4 => 10,
        DType::F4E2M1 => 11,
        DType::F8E8M0 => 12,
        DType::I2 | DType::U2 => 13,
        _ => 3,
    }
}

/// The type of a tensor, or what is wrong with it. An extent without number and name gets a name of its own.
pub(super) fn tensor_type_of(value: &str, ty: &TypeProto) -> Result<TensorType, String> {
    let tensor = match &ty.value {
        Some(TypeValue::Tensor(tensor)) => tensor,
        Some(other) => {
            let kind = match other {
                TypeValue::Tensor(_) => "tensor",
                TypeValue::Sequence(_) => "sequence",
                TypeValue::Map(_) => "map",
                TypeValue::Opaque(_) => "value of an opaque type",
                TypeValue::SparseTensor(_) => "sparse tensor",
                TypeValue::Optional(_) => "optional value",
            };
            return Err(format!("it is a {kind}; only tensors are supported"));
        }
        None => return Err(String::from("its type is empty; expected a tensor type")),
    };
    let dtype = dtype_of(tensor.elem_type.into())?;
    let Some(shape) = &tensor.shape else {
        return Ok(TensorType::unranked(dtype));
    };
    let mut elements = 1usize;
    let mut dims = Vec::with_capacity(shape.dim.len());
    for (axis, dim) in shape.dim.iter().enumerate() {
        dims.push(match &dim.value {
            Some(DimensionValue::Value(extent)) => {
                let extent = usize::try_from(*extent).map_err(|_| {
                    format!("extent {extent} of axis {axis} is negative; name unknown extents")
                })?;
                elements = elements
                    .checked_mul(extent)
                    .filter(|&elements| i64::try_from(elements).is_ok())
                    .ok_or_else(|| String::from("its number of elements overflows"))?;
                Dim::Known(extent)
            }
            Some(DimensionValue::Param(name)) if !name.is_empty() => Dim::symbolic(name.as_str()),
            _ => Dim::symbolic(format!("?{value}.{axis}")),
        });
    }
    Ok(TensorType::new(dtype, dims))
}

/// A named type as a file states it.
pub(super) fn value_info(name: &str, ty: &TensorType) -> ValueInfoProto {
    let dimension = |dim: &Dim| Dimension {
        value: match dim {
            Dim::Known(extent) => Some(DimensionValue::Value(*extent as i64)),
            // Made up for an extent that only running tells; other programs take equal names for equal numbers.
            Dim::Symbolic(name) if name.contains('?') => None,
            Dim::Symbolic(name) => Some(DimensionValue::Param(name.to_string())),
        },
        denotation: String::new(),
    };
    let shape = ty.shape.as_ref().map(|dims| TensorShapeProto { dim: dims.iter().map(dimension).collect() });
    let tensor = TensorTypeProto { elem_type: code_of(ty.dtype), shape };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: String::new() }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{code_of, dtype_of};
    use calipers_ir::DType;

    #[test]
    fn codes_of_storage_types_read_back() {
        for dtype in DType::ALL {
            assert_eq!(dtype_of(code_of(dtype).into()), Ok(dtype));
        }
        // The numbers of the ONNX documentation.
        assert_eq!(
            [DType::F32, DType::I8, DType::I4, DType::F8E8M0, DType::I2].map(code_of),
            [1, 3, 22, 24, 26]
        );
        assert!(
            dtype_of(0).is_err()
                && dtype_of(27).is_err()
                && dtype_of(-1).is_err()
                && dtype_of(1 << 40).is_err()
        );
    }
}
