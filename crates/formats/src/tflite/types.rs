//! Storage types and operators by their numbers.

use calipers_ir::DType;

use super::schema::{BuiltinOperator, TensorType};

/// The storage type of a number. Resources and variants, which are handles and no data, have none.
pub(super) fn dtype_of(code: i8) -> Option<DType> {
    Some(match TensorType(code) {
        TensorType::FLOAT32 => DType::F32,
        TensorType::FLOAT16 => DType::F16,
        TensorType::INT32 => DType::I32,
        TensorType::UINT8 => DType::U8,
        TensorType::INT64 => DType::I64,
        TensorType::STRING => DType::String,
        TensorType::BOOL => DType::Bool,
        TensorType::INT16 => DType::I16,
        TensorType::COMPLEX64 => DType::Complex64,
        TensorType::INT8 => DType::I8,
        TensorType::FLOAT64 => DType::F64,
        TensorType::COMPLEX128 => DType::Complex128,
        TensorType::UINT64 => DType::U64,
        TensorType::UINT32 => DType::U32,
        TensorType::UINT16 => DType::U16,
        TensorType::INT4 => DType::I4,
        TensorType::BFLOAT16 => DType::BF16,
        TensorType::INT2 => DType::I2,
        TensorType::UINT4 => DType::U4,
        TensorType::FLOAT8_E4M3FN => DType::F8E4M3Fn,
        TensorType::FLOAT8_E5M2 => DType::F8E5M2,
        _ => return None,
    })
}

/// What is wrong with a number that has no storage type.
pub(super) fn untyped(code: i8) -> String {
    match TensorType(code).variant_name() {
        Some(name) => format!("tensors of type {name} hold handles and no data, which is not supported"),
        None => format!("it is of the unknown type {code}"),
    }
}

/// The operator of a code. Codes above 126 stand in a wider field, which older files do not have.
pub(super) fn operator(narrow: i8, wide: BuiltinOperator) -> BuiltinOperator {
    BuiltinOperator(wide.0.max(narrow.into()))
}

/// The operator's name in the format.
pub(super) fn operator_name(operator: BuiltinOperator) -> String {
    operator.variant_name().map_or_else(|| format!("BUILTIN_{}", operator.0), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{operator, operator_name};
    use crate::tflite::schema::BuiltinOperator;

    #[test]
    fn codes_of_old_and_new_files() {
        assert_eq!(operator(3, BuiltinOperator(0)), BuiltinOperator::CONV_2D);
        assert_eq!(operator(127, BuiltinOperator(150)), BuiltinOperator::GELU);
        assert_eq!(operator_name(BuiltinOperator(4711)), "BUILTIN_4711");
    }
}
