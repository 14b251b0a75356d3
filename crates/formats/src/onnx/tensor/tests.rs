//! Every way to store every type gives the same bytes, and data that do not fit are refused by name.

use bytes::Bytes;
use calipers_ir::{DType, Tensor};

use super::super::messages::{DataLocation, Segment, StringStringEntryProto, TensorProto};
use super::super::types::code_of;
use super::{TensorReader, to_proto};

fn proto(dtype: DType, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: String::from("t"),
        data_type: code_of(dtype),
        dims: dims.to_vec(),
        ..Default::default()
    }
}

fn read(proto: TensorProto) -> Result<Tensor, String> {
    TensorReader::default().read(proto).map_err(|error| error.to_string())
}

fn bytes(proto: TensorProto) -> Vec<u8> {
    read(proto).unwrap().bytes().to_vec()
}

#[test]
fn lists_hold_what_raw_data_hold() {
    let ints = |dtype, list: &[i32], dims: &[i64]| {
        bytes(TensorProto { int32_data: list.to_vec(), ..proto(dtype, dims) })
    };
    assert_eq!(ints(DType::I8, &[-128, 127], &[2]), [0x80, 0x7f]);
    assert_eq!(ints(DType::U8, &[255], &[1]), [255]);
    assert_eq!(ints(DType::Bool, &[1, 0], &[2]), [1, 0]);
    assert_eq!(ints(DType::I16, &[-2], &[1]), [0xfe, 0xff]);
    assert_eq!(ints(DType::F16, &[0x3c00], &[]), [0x00, 0x3c]);
    assert_eq!(ints(DType::BF16, &[0x3f80], &[]), [0x80, 0x3f]);
    assert_eq!(ints(DType::F8E5M2, &[0xfb], &[1]), [0xfb]);
    assert_eq!(ints(DType::I32, &[-1], &[1]), [0xff; 4]);
    // Two 4-bit elements to a number, low nibble first: 1, -2, 3.
    assert_eq!(ints(DType::I4, &[0xe1, 0x03], &[3]), [0xe1, 0x03]);
    assert_eq!(ints(DType::I4, &[-31, 3], &[3]), [0xe1, 0x03]);
    assert_eq!(ints(DType::U2, &[0b11_10_01_00], &[4]), [0b11_10_01_00]);
    let list = TensorProto { float_data: vec![1.0, -2.0], ..proto(DType::F32, &[2]) };
    let raw = Bytes::from_static(&[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]);
    assert_eq!(read(list), read(TensorProto { raw_data: raw, ..proto(DType::F32, &[2]) }));
    assert_eq!(
        bytes(TensorProto { float_data: vec![1.0, 0.0], ..proto(DType::Complex64, &[]) }),
        [0, 0, 0x80, 0x3f, 0, 0, 0, 0]
    );
    assert_eq!(bytes(TensorProto { int64_data: vec![-1], ..proto(DType::I64, &[1]) }), [0xff; 8]);
    assert_eq!(bytes(TensorProto { uint64_data: vec![7], ..proto(DType::U32, &[1]) }), [7, 0, 0, 0]);
    assert_eq!(bytes(TensorProto { double_data: vec![1.0], ..proto(DType::F64, &[]) }), 1f64.to_le_bytes());
    let strings = TensorProto { string_data: vec![b"\xff".to_vec()], ..proto(DType::String, &[1]) };
    assert_eq!(read(strings).unwrap().strings().unwrap(), [b"\xff"]);
    assert!(bytes(proto(DType::F32, &[0, 3])).is_empty());
}

#[test]
fn written_tensors_read_back() {
    for dtype in DType::ALL {
        let Some(size) = dtype.packed_bytes(5) else {
            let tensor = Tensor::from_strings([2], vec![b"a".to_vec(), vec![]]).unwrap();
            assert_eq!(read(to_proto("t", &tensor)), Ok(tensor));
            continue;
        };
        let tensor = Tensor::new(dtype, [5], (0..size as u8).collect::<Bytes>()).unwrap();
        assert_eq!(read(to_proto("t", &tensor)), Ok(tensor));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let raw = |count: usize| Bytes::from(vec![0; count]);
    let cases = [
        (
            TensorProto { raw_data: raw(15), ..proto(DType::F32, &[2, 2]) },
            "tensor `t`: a tensor of type f32 and shape [2, 2] takes 16 bytes, found 15",
        ),
        (proto(DType::F32, &[2]), "takes 8 bytes, found 0"),
        (TensorProto { raw_data: raw(1), ..proto(DType::I4, &[3]) }, "takes 2 bytes, found 1"),
        (proto(DType::F32, &[-1]), "extent -1 in [-1] is negative"),
        (proto(DType::I8, &[i64::MAX, 3]), "has no byte size"),
        (proto(DType::U8, &[1 << 40]), "takes 1099511627776 bytes, found 0"),
        (TensorProto { data_type: 99, ..proto(DType::I8, &[1]) }, "data type 99 is unknown"),
        (TensorProto { data_type: 0, ..proto(DType::I8, &[1]) }, "the data type is not given"),
        (TensorProto { data_type: 27, ..proto(DType::I8, &[1]) }, "6-bit floats are not supported"),
        (
            TensorProto { float_data: vec![1.0], ..proto(DType::I8, &[1]) },
            "i8 belongs in `raw_data` or `int32_data`",
        ),
        (TensorProto { raw_data: raw(1), ..proto(DType::String, &[1]) }, "string belongs in"),
        (
            TensorProto { raw_data: raw(4), float_data: vec![1.0], ..proto(DType::F32, &[1]) },
            "given more than once, in float_data and raw_data",
        ),
        (
            TensorProto { int32_data: vec![300], ..proto(DType::U8, &[1]) },
            "`int32_data` holds 300; u8 takes 0 to 255",
        ),
        (TensorProto { int32_data: vec![2], ..proto(DType::Bool, &[1]) }, "bool takes 0 to 1"),
        (TensorProto { uint64_data: vec![1 << 32], ..proto(DType::U32, &[1]) }, "a number above u32"),
        (
            TensorProto { segment: Some(Segment { begin: 0, end: 1 }), ..proto(DType::I8, &[1]) },
            "in segments",
        ),
        (external(&[("location", "data")]), "in the file `data`; read the model from its file"),
    ];
    for (proto, expected) in cases {
        let error = read(proto).unwrap_err();
        assert!(error.starts_with("tensor `t`: ") && error.contains(expected), "{error}");
    }
}

fn external(entries: &[(&str, &str)]) -> TensorProto {
    let entry =
        |&(key, value): &(&str, &str)| StringStringEntryProto { key: key.into(), value: value.into() };
    TensorProto {
        data_location: DataLocation::External as i32,
        external_data: entries.iter().map(entry).collect(),
        ..proto(DType::U8, &[3])
    }
}

#[test]
fn external_data_are_read_from_the_models_folder_alone() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("model");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(outside.path().join("secret"), [9; 8]).unwrap();
    std::fs::write(folder.join("data"), [0, 1, 2, 3, 4]).unwrap();
    std::fs::write(folder.join("sub/data"), [7, 7, 7]).unwrap();
    let mut reader = TensorReader::beside(folder.clone());
    let mut read = |entries: &[(&str, &str)]| {
        reader
            .read(external(entries))
            .map(|tensor| tensor.bytes().to_vec())
            .map_err(|error| error.to_string())
    };
    assert_eq!(read(&[("location", "data"), ("offset", "1"), ("length", "3")]).unwrap(), [1, 2, 3]);
    assert_eq!(read(&[("location", "data"), ("offset", "2")]).unwrap(), [2, 3, 4]);
    assert_eq!(read(&[("location", "./sub/data")]).unwrap(), [7, 7, 7]);

    let secret = outside.path().join("secret");
    let refused = ["../secret", "sub/../../secret", secret.to_str().unwrap(), "", "sub\\data", "data\0"];
    for location in refused {
        let error = read(&[("location", location)]).unwrap_err();
        assert!(error.contains("only files in the model's folder are read"), "{location}: {error}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, folder.join("link")).unwrap();
        let error = read(&[("location", "link")]).unwrap_err();
        assert!(error.contains("only files in the model's folder are read"), "{error}");
    }
    let error = read(&[("location", "data"), ("offset", "3")]).unwrap_err();
    assert!(error.contains("3 bytes from byte 3 of `data` were expected, the file has 5"), "{error}");
    let error = read(&[("location", "data"), ("offset", "18446744073709551615")]).unwrap_err();
    assert!(error.contains("the file has 5"), "{error}");
    assert!(read(&[("location", "data"), ("offset", "-1")]).unwrap_err().contains("not a number"));
    assert!(read(&[("location", "data"), ("length", "2")]).unwrap_err().contains("takes 3 bytes, found 2"));
    assert!(read(&[("location", "sub")]).unwrap_err().contains("not a regular file"));
    assert!(read(&[("location", "none")]).unwrap_err().contains("external data in `none`"));
    assert!(read(&[]).unwrap_err().contains("no `location` is given"));
}
