//! The outermost protobuf fields of a file, looked at before decoding: where a cut file ends, and whether the bytes can
//! be a model at all.

use super::ReadError;

/// Name of a field of `ModelProto` by number.
fn field_name(number: u64) -> &'static str {
    match number {
        1 => "ir_version",
        2 => "producer_name",
        3 => "producer_version",
        4 => "domain",
        5 => "model_version",
        6 => "doc_string",
        7 => "graph",
        8 => "opset_import",
        14 => "metadata_props",
        20 => "training_info",
        25 => "functions",
        26 => "configuration",
        _ => "unknown",
    }
}

/// Walks the fields of a `ModelProto` without looking into them.
///
/// # Errors
/// [`ReadError::Truncated`] or [`ReadError::NotProtobuf`] at the first field that does not end within the bytes, or
/// that no protobuf message has.
pub(super) fn check(bytes: &[u8]) -> Result<(), ReadError> {
    let mut offset = 0;
    while offset < bytes.len() {
        let begin = offset;
        let truncated = |field, expected: u64, found: usize| ReadError::Truncated {
            field,
            offset: begin,
            expected,
            found: found as u64,
        };
        let key = varint(bytes, &mut offset, "unknown", begin)?;
        let (number, kind) = (key >> 3, key & 7);
        let broken = |reason: String| ReadError::NotProtobuf { offset: begin, reason };
        if number == 0 || number > u64::from(u32::MAX >> 3) {
            return Err(broken(format!("field number {number}")));
        }
        let field = field_name(number);
        let length = match kind {
            0 => {
                varint(bytes, &mut offset, field, begin)?;
                continue;
            }
            1 => 8,
            2 => varint(bytes, &mut offset, field, begin)?,
            5 => 4,
            _ => return Err(broken(format!("wire type {kind}"))),
        };
        let left = bytes.len() - offset;
        match usize::try_from(length) {
            Ok(length) if length <= left => offset += length,
            _ => return Err(truncated(field, length, left)),
        }
    }
    Ok(())
}

fn varint(bytes: &[u8], offset: &mut usize, field: &'static str, begin: usize) -> Result<u64, ReadError> {
    let mut value = 0u64;
    for position in 0..10 {
        let Some(&byte) = bytes.get(*offset) else {
            let found = (bytes.len() - begin) as u64;
            return Err(ReadError::Truncated { field, offset: begin, expected: found + 1, found });
        };
        *offset += 1;
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ReadError::NotProtobuf { offset: begin, reason: String::from("a number of more than ten bytes") })
}
