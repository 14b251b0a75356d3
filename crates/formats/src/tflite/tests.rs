//! Broken files, built with the tables of the schema.

use bytes::Bytes;
use flatbuffers::{FlatBufferBuilder, WIPOffset};

use super::parse;
use super::schema::tables::{
    Buffer, BufferArgs, BuiltinOperator, Model, ModelArgs, Operator, OperatorArgs, OperatorCode,
    OperatorCodeArgs, QuantizationParameters, QuantizationParametersArgs, SparsityParameters,
    SparsityParametersArgs, SubGraph, SubGraphArgs, Tensor, TensorArgs, TensorType,
};

/// A tensor `t` of f32; a file is made of changes to it.
#[derive(Clone)]
struct TensorSpec {
    shape: Vec<i32>,
    kind: TensorType,
    buffer: u32,
    scale: Vec<f32>,
    zero_point: Vec<i64>,
    axis: i32,
    sparse: bool,
    external: u32,
}

/// A file of one subgraph with one operator.
#[derive(Clone)]
struct Spec {
    version: u32,
    code: BuiltinOperator,
    opcode: u32,
    tensors: Vec<TensorSpec>,
    /// Data, or place and size outside.
    buffers: Vec<(Vec<u8>, u64, u64)>,
    inputs: Vec<i32>,
    outputs: Vec<i32>,
    op_inputs: Vec<i32>,
    op_outputs: Vec<i32>,
}

fn tensor(shape: &[i32], buffer: u32) -> TensorSpec {
    TensorSpec {
        shape: shape.to_vec(),
        kind: TensorType::FLOAT32,
        buffer,
        scale: Vec::new(),
        zero_point: Vec::new(),
        axis: 0,
        sparse: false,
        external: 0,
    }
}

/// `t2 = t0 + t1`, where `t1` is a constant: a file without fault.
fn sound() -> Spec {
    Spec {
        version: 3,
        code: BuiltinOperator::ADD,
        opcode: 0,
        tensors: vec![tensor(&[2], 0), tensor(&[2], 1), tensor(&[2], 0)],
        buffers: vec![(Vec::new(), 0, 0), (vec![0; 8], 0, 0)],
        inputs: vec![0],
        outputs: vec![2],
        op_inputs: vec![0, 1],
        op_outputs: vec![2],
    }
}

fn build(spec: &Spec) -> Bytes {
    let mut builder = FlatBufferBuilder::new();
    let buffers: Vec<WIPOffset<_>> = (spec.buffers.iter())
        .map(|(data, offset, size)| {
            let data = (!data.is_empty()).then(|| builder.create_vector(data));
            Buffer::create(&mut builder, &BufferArgs { data, offset: *offset, size: *size })
        })
        .collect();
    let mut tensors = Vec::new();
    for (index, tensor) in spec.tensors.iter().enumerate() {
        let shape = Some(builder.create_vector(&tensor.shape));
        let name = Some(builder.create_string(&format!("t{index}")));
        let scale = Some(builder.create_vector(&tensor.scale));
        let zero_point = Some(builder.create_vector(&tensor.zero_point));
        let arguments = QuantizationParametersArgs {
            scale,
            zero_point,
            quantized_dimension: tensor.axis,
            ..Default::default()
        };
        let quantization = Some(QuantizationParameters::create(&mut builder, &arguments));
        let sparsity = tensor
            .sparse
            .then(|| SparsityParameters::create(&mut builder, &SparsityParametersArgs::default()));
        let arguments = TensorArgs {
            shape,
            type_: tensor.kind,
            buffer: tensor.buffer,
            name,
            quantization,
            sparsity,
            external_buffer: tensor.external,
            ..Default::default()
        };
        tensors.push(Tensor::create(&mut builder, &arguments));
    }
    let inputs = Some(builder.create_vector(&spec.op_inputs));
    let outputs = Some(builder.create_vector(&spec.op_outputs));
    let operator = OperatorArgs { opcode_index: spec.opcode, inputs, outputs, ..Default::default() };
    let operator = Operator::create(&mut builder, &operator);
    let arguments = SubGraphArgs {
        tensors: Some(builder.create_vector(&tensors)),
        inputs: Some(builder.create_vector(&spec.inputs)),
        outputs: Some(builder.create_vector(&spec.outputs)),
        operators: Some(builder.create_vector(&[operator])),
        ..Default::default()
    };
    let subgraph = SubGraph::create(&mut builder, &arguments);
    let code = OperatorCodeArgs { builtin_code: spec.code, ..Default::default() };
    let code = OperatorCode::create(&mut builder, &code);
    let arguments = ModelArgs {
        version: spec.version,
        operator_codes: Some(builder.create_vector(&[code])),
        subgraphs: Some(builder.create_vector(&[subgraph])),
        buffers: Some(builder.create_vector(&buffers)),
        ..Default::default()
    };
    let model = Model::create(&mut builder, &arguments);
    builder.finish(model, Some("TFL3"));
    Bytes::copy_from_slice(builder.finished_data())
}

/// What reading says of a sound file with a change.
fn refused(change: impl FnOnce(&mut Spec)) -> String {
    let mut spec = sound();
    change(&mut spec);
    parse(build(&spec)).unwrap_err().to_string()
}

#[test]
fn the_sound_file_is_read() {
    let model = parse(build(&sound())).unwrap();
    assert_eq!(model.graph.nodes()[0].op.name(), "Add");
    assert_eq!(model.graph.constants().len(), 1);
}

#[test]
fn other_files_are_refused() {
    let said = |bytes: &'static [u8]| parse(Bytes::from_static(bytes)).unwrap_err().to_string();
    assert_eq!(said(b""), "not a TFLite file: it has 0 bytes");
    assert_eq!(
        said(b"\x08\x07\x12\x04bert:\x0c"),
        "not a TFLite file: bytes 4 to 7 are `bert`, expected `TFL3`"
    );
    assert!(said(b"\xf0\xff\xff\xffTFL3").starts_with("not a valid TFLite file: "));
    assert_eq!(
        refused(|spec| spec.version = 1),
        "the file is of schema version 1; version 3 is read; convert it again"
    );
}

#[test]
fn indices_out_of_range_are_refused() {
    let operator = "operator 0 (ADD, which makes `t2`): ";
    assert_eq!(
        refused(|spec| spec.op_inputs[1] = 3),
        format!("{operator}it names tensor 3, the subgraph has 3")
    );
    assert_eq!(
        refused(|spec| spec.op_inputs[1] = -7),
        format!("{operator}it names tensor -7, the subgraph has 3")
    );
    assert_eq!(
        refused(|spec| spec.op_outputs[0] = 9),
        "operator 0 (ADD): it names tensor 9, the subgraph has 3"
    );
    assert_eq!(refused(|spec| spec.opcode = 4), "operator 0: its code is number 4, the file has 1");
    assert_eq!(
        refused(|spec| spec.tensors[1].buffer = 8),
        "tensor 1 (`t1`): its data are in buffer 8; the file has 2"
    );
    assert!(refused(|spec| spec.inputs[0] = 77).contains("it names tensor 77"));
    assert!(refused(|spec| spec.outputs[0] = -1).contains("it is no tensor"));
}

#[test]
fn shapes_and_data_must_agree() {
    assert_eq!(
        refused(|spec| spec.buffers[1].0.truncate(7)),
        "tensor 1 (`t1`): a tensor of type f32 and shape [2] takes 8 bytes, found 7"
    );
    assert_eq!(
        refused(|spec| spec.tensors[1].shape = vec![i32::MAX; 4]),
        format!("tensor 1 (`t1`): a tensor of type f32 and shape {:?} has no byte size", [i32::MAX; 4])
    );
    assert_eq!(
        refused(|spec| spec.tensors[1].shape = vec![-2]),
        "tensor 1 (`t1`): its shape [-2] has a negative extent"
    );
    assert!(
        refused(|spec| spec.buffers[1] = (Vec::new(), 64, u64::MAX))
            .contains("bytes from byte 64 were expected")
    );
    assert!(refused(|spec| spec.buffers[1] = (Vec::new(), u64::MAX, 8)).contains("8 bytes from byte"));
}

#[test]
fn what_is_not_supported_is_named() {
    let tensor = "tensor 1 (`t1`): ";
    assert_eq!(
        refused(|spec| spec.tensors[1].sparse = true),
        format!("{tensor}it is stored as a sparse tensor, which is not supported")
    );
    assert_eq!(
        refused(|spec| spec.tensors[1].external = 1),
        format!(
            "{tensor}its data are in a file beside the model (an external buffer), which is not supported"
        )
    );
    assert_eq!(
        refused(|spec| spec.tensors[1].kind = TensorType::RESOURCE),
        format!("{tensor}tensors of type RESOURCE hold handles and no data, which is not supported")
    );
    assert_eq!(
        refused(|spec| spec.tensors[1].kind = TensorType(99)),
        format!("{tensor}it is of the unknown type 99")
    );
}

#[test]
fn quantization_parameters_are_checked() {
    let quantized = |change: fn(&mut TensorSpec)| {
        refused(|spec| {
            spec.tensors[1].kind = TensorType::INT8;
            spec.buffers[1].0.truncate(2);
            spec.tensors[1].scale = vec![0.5];
            change(&mut spec.tensors[1]);
        })
    };
    assert!(quantized(|tensor| tensor.scale = vec![f32::NAN]).contains("it has the scale NaN"));
    assert!(quantized(|tensor| tensor.scale = vec![-1.0]).contains("it has the scale -1"));
    assert!(quantized(|tensor| tensor.zero_point = vec![128]).contains("its zero point 128 is outside i8"));
    assert!(quantized(|tensor| tensor.zero_point = vec![0, 0]).contains("1 scales and 2 zero points"));
    assert!(quantized(|tensor| tensor.scale = vec![1.0; 3]).contains("3 scales along dimension 0 of [2]"));
    let zero = refused(|spec| {
        for tensor in &mut spec.tensors {
            tensor.kind = TensorType::INT8;
            tensor.scale = vec![0.5];
        }
        spec.buffers[1].0.truncate(2);
        spec.tensors[2].scale = vec![0.0];
    });
    assert!(zero.ends_with("its result `t2` has a scale of 0"), "{zero}");
}

#[test]
fn values_have_one_definition_before_their_uses() {
    let said = refused(|spec| spec.op_inputs[0] = 2);
    assert!(said.ends_with("`t2` is read before it is computed"), "{said}");
    let said = refused(|spec| spec.inputs.clear());
    assert!(said.ends_with("`t0` is read, and nothing defines it"), "{said}");
    let said = refused(|spec| spec.op_outputs[0] = 0);
    assert!(
        said.ends_with("its result `t0` is an input of the model or another operator's result"),
        "{said}"
    );
    let said = refused(|spec| spec.op_outputs[0] = 1);
    assert!(said.ends_with("its result `t1` has data of its own"), "{said}");
    assert!(refused(|spec| spec.inputs.push(0)).contains("it is twice among the inputs"));
    assert!(refused(|spec| spec.inputs.push(1)).contains("has data of its own"));
}

#[test]
fn rules_of_operators_are_checked() {
    let said = refused(|spec| spec.tensors[0].shape = vec![3]);
    assert!(said.starts_with("operator 0 (ADD, which makes `t2`): Add: expected"), "{said}");
    let said = refused(|spec| spec.code = BuiltinOperator::CONV_2D);
    assert!(said.contains("operator 0 (CONV_2D"), "{said}");
    let said = refused(|spec| spec.op_inputs.truncate(1));
    assert!(said.ends_with("2 inputs and 1 outputs were expected, found 1 and 1"), "{said}");
}
