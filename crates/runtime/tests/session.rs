//! What a session promises beside its numbers: probes, dynamic shapes, threads, precision as stated, and its errors.

use bytes::Bytes;
use calipers_ir::{
    Activation, Attributes, BinaryKind, Conv, DType, DequantizeLinear, Dim, Fate, Graph, GraphEditor, Layout,
    Op, Opaque, QuantizeLinear, Renames, Tensor, TensorType, UnaryKind, ValueId, Window,
};
use calipers_models::{Options, resnet8};
use calipers_runtime::{Isa, Profiler, Recorder, Session, SessionOptions};

fn conv() -> Op {
    let window = Window::uniform(2, 1, 0);
    Op::Conv(Conv { groups: 1, window, layout: Layout::Nchw, activation: Activation::None })
}

fn relu() -> Op {
    Op::Unary(UnaryKind::Relu)
}

fn scale(editor: &mut GraphEditor, name: &str, scale: f32, zero_point: u8) -> [ValueId; 2] {
    let zero = editor.add_constant(format!("{name}.zero_point"), Tensor::scalar(zero_point)).unwrap();
    [editor.add_constant(format!("{name}.scale"), Tensor::scalar(scale)).unwrap(), zero]
}

fn quantize(editor: &mut GraphEditor, name: &str, x: ValueId, [scale, zero]: [ValueId; 2]) -> ValueId {
    let op = QuantizeLinear { axis: 1, block_size: 0, saturate: true, dtype: DType::U8 };
    editor.add(name, Op::QuantizeLinear(op), &[x, scale, zero]).unwrap()
}

fn dequantize(editor: &mut GraphEditor, name: &str, x: ValueId, [scale, zero]: [ValueId; 2]) -> ValueId {
    let op = DequantizeLinear { axis: 1, block_size: 0 };
    editor.add(name, Op::DequantizeLinear(op), &[x, scale, zero]).unwrap()
}

/// `x` -> Quantize -> Dequantize -> Conv 1x1 of weights 1, -1 and 2, 0 -> Relu -> Quantize -> Dequantize, or without the
/// last two.
fn quantized(to_integers: bool) -> Graph {
    let mut editor = GraphEditor::new("quantized");
    let shape = [Dim::symbolic("N"), Dim::Known(2), Dim::Known(1), Dim::Known(2)];
    let x = editor.add_input("x", TensorType::new(DType::F32, shape)).unwrap();
    let input = scale(&mut editor, "input", 0.5, 10);
    let q = quantize(&mut editor, "x.q", x, input);
    let dq = dequantize(&mut editor, "x.dq", q, input);
    let integers = Tensor::from_vec([2, 2, 1, 1], vec![1i8, -1, 2, 0]).unwrap();
    let weights = editor.add_constant("w.integers", integers).unwrap();
    let one = editor.add_constant("w.scale", Tensor::scalar(1.0f32)).unwrap();
    let zero = editor.add_constant("w.zero_point", Tensor::scalar(0i8)).unwrap();
    let weights = dequantize(&mut editor, "w", weights, [one, zero]);
    let sum = editor.add("conv", conv(), &[dq, weights]).unwrap();
    let mut y = editor.add("relu", relu(), &[sum]).unwrap();
    if to_integers {
        let output = scale(&mut editor, "output", 0.25, 3);
        y = quantize(&mut editor, "y.q", y, output);
        y = dequantize(&mut editor, "y", y, output);
    }
    editor.add_output(y);
    editor.build().unwrap()
}

/// In channels first: 1, 2 in the first channel and -1, 5.3 in the second; on the grid of 0.5 that is 5.5.
fn input() -> Tensor {
    Tensor::from_vec([1, 2, 1, 2], vec![1.0f32, 2.0, -1.0, 5.3]).unwrap()
}

fn kernels(session: &mut Session, shape: &[usize]) -> Vec<String> {
    session.plan(&[shape.to_vec()]).unwrap().steps().map(|step| step.kernel.clone()).collect()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.as_f32().unwrap().into_owned()
}

#[test]
fn a_probe_sees_inside_an_integer_pattern_and_changes_nothing() {
    let mut session = Session::new(quantized(true), SessionOptions::default()).unwrap();
    let plain = session.run(&[("x", input())], &mut ()).unwrap();
    assert_eq!(floats(&plain[0]), [2.0, 0.0, 2.0, 4.0]);
    let mut recorder = Recorder::new(["conv", "y.q", "x", "w", "relu", "w.integers"]);
    let probed = session.run(&[("x", input())], &mut recorder).unwrap();
    assert_eq!(probed, plain);
    assert_eq!(floats(&recorder.values["conv"]), [2.0, -3.5, 2.0, 4.0]);
    assert_eq!(floats(&recorder.values["relu"]), [2.0, 0.0, 2.0, 4.0]);
    assert_eq!(recorder.values["y.q"], Tensor::from_vec([1, 2, 1, 2], vec![11u8, 3, 11, 19]).unwrap());
    assert_eq!(recorder.values["x"], input());
    assert_eq!(floats(&recorder.values["w"]), [1.0, -1.0, 2.0, 0.0]);
    assert_eq!(recorder.values["w.integers"].dtype(), DType::I8);
    assert!(kernels(&mut session, &[1, 2, 1, 2]).contains(&String::from("convolve u8")));
}

#[test]
fn precision_is_what_the_graph_says() {
    let mut session = Session::new(quantized(false), SessionOptions::default()).unwrap();
    let outputs = session.run(&[("x", input())], &mut ()).unwrap();
    assert_eq!(floats(&outputs[0]), [2.0, 0.0, 2.0, 4.0]);
    let kernels = kernels(&mut session, &[1, 2, 1, 2]);
    assert!(kernels.contains(&String::from("convolve f32")), "{kernels:?}");
    assert!(!kernels.contains(&String::from("convolve u8")), "{kernels:?}");
}

#[test]
fn an_activation_is_fused_unless_someone_wants_what_is_before_it() {
    let mut session = Session::new(quantized(false), SessionOptions::default()).unwrap();
    assert!(!kernels(&mut session, &[1, 2, 1, 2]).contains(&String::from("clip f32")));
    let mut recorder = Recorder::new(["conv"]);
    session.run(&[("x", input())], &mut recorder).unwrap();
    assert_eq!(floats(&recorder.values["conv"]), [2.0, -3.5, 2.0, 4.0]);
}

#[test]
fn any_batch_runs_and_equals_its_rows() {
    let mut session = Session::new(quantized(true), SessionOptions::default().with_threads(2)).unwrap();
    let single = floats(&session.run(&[("x", input())], &mut ()).unwrap()[0]);
    for batch in (1..12).rev().chain([5]) {
        let rows: Vec<f32> = floats(&input()).repeat(batch);
        let batch = Tensor::from_vec([batch, 2, 1, 2], rows).unwrap();
        let outputs = session.run(&[("x", batch.clone())], &mut ()).unwrap();
        assert_eq!(outputs[0].shape(), batch.shape());
        assert!(floats(&outputs[0]).chunks_exact(4).all(|row| row == single));
    }
}

#[test]
fn a_network_is_the_same_bits_on_every_instruction_set_and_thread_count() {
    let graph = resnet8(&Options::default(), 3).unwrap();
    let pixels: Vec<f32> = (0..3 * 3 * 32 * 32).map(|index| (index % 251) as f32 / 125.0 - 1.0).collect();
    let images = Tensor::from_vec([3, 3, 32, 32], pixels).unwrap();
    let mut first: Option<Vec<Tensor>> = None;
    for isa in Isa::ALL.into_iter().filter(|isa| isa.supported().is_some()) {
        for threads in [1, 2, 3] {
            let options = SessionOptions { threads, isa: Some(isa), ..SessionOptions::default() };
            let mut session = Session::new(graph.clone(), options).unwrap();
            let outputs = session.run(&[("input", images.clone())], &mut ()).unwrap();
            match &first {
                Some(first) => assert_eq!(&outputs, first, "{isa} with {threads} threads"),
                None => first = Some(outputs),
            }
        }
    }
}

#[test]
fn a_profiler_times_every_step_of_every_run() {
    for threads in [1, 2] {
        let mut session =
            Session::new(quantized(true), SessionOptions::default().with_threads(threads)).unwrap();
        let mut profiler = Profiler::new();
        for _ in 0..3 {
            session.run(&[("x", input())], &mut profiler).unwrap();
        }
        let steps: Vec<_> = session.plan(&[vec![1, 2, 1, 2]]).unwrap().steps().cloned().collect();
        assert_eq!(profiler.steps.iter().map(|time| time.step.clone()).collect::<Vec<_>>(), steps);
        assert!(profiler.steps.iter().all(|time| time.durations.len() == 3));
    }
}

#[test]
fn unaligned_inputs_are_read() {
    let mut bytes = vec![0u8];
    bytes.extend(input().bytes());
    let unaligned = Tensor::new(DType::F32, [1, 2, 1, 2], Bytes::from(bytes).slice(1..)).unwrap();
    let mut session = Session::new(quantized(true), SessionOptions::default()).unwrap();
    let outputs = session.run(&[("x", unaligned)], &mut ()).unwrap();
    assert_eq!(floats(&outputs[0]), [2.0, 0.0, 2.0, 4.0]);
}

#[test]
fn an_operand_may_be_read_twice_and_an_input_may_be_an_output() {
    let mut editor = GraphEditor::new("twice");
    let x = editor.add_input("x", TensorType::new(DType::F32, [2usize])).unwrap();
    let sum = editor.add("sum", relu(), &[x]).unwrap();
    let sum = editor.add("twice", Op::Binary(BinaryKind::Add, Activation::None), &[sum, sum]).unwrap();
    let same = editor.add("same", Op::Unary(UnaryKind::Identity), &[x]).unwrap();
    let seven = editor.add_constant("seven", Tensor::scalar(7.0f32)).unwrap();
    for output in [sum, same, x, seven] {
        editor.add_output(output);
    }
    let mut session = Session::new(editor.build().unwrap(), SessionOptions::default()).unwrap();
    let x = Tensor::from_vec([2], vec![-1.0f32, 2.0]).unwrap();
    let outputs = session.run(&[("x", x.clone())], &mut ()).unwrap();
    assert_eq!(
        outputs,
        [Tensor::from_vec([2], vec![0.0f32, 4.0]).unwrap(), x.clone(), x, Tensor::scalar(7.0f32)]
    );
}

fn error_of(graph: Graph, inputs: &[(&str, Tensor)], wanted: &[&str]) -> String {
    let renames = Renames([(String::from("gone"), Fate::Fused(String::from("conv")))].into());
    let options = SessionOptions { renames, ..SessionOptions::default() };
    let mut session = Session::new(graph, options).unwrap();
    session.run(inputs, &mut Recorder::new(wanted.iter().copied())).unwrap_err().to_string()
}

#[test]
fn errors_name_the_place_and_the_way_out() {
    let graph = quantized(true);
    assert_eq!(error_of(graph.clone(), &[], &[]), "input `x` was not given; the graph has the inputs `x`");
    assert_eq!(
        error_of(graph.clone(), &[("y", input()), ("x", input())], &[]),
        "the graph has no input `y`; it has the inputs `x`"
    );
    let flat = Tensor::from_vec([4], vec![0.0f32; 4]).unwrap();
    assert_eq!(
        error_of(graph.clone(), &[("x", flat)], &[]),
        "input `x`: expected f32[N, 2, 1, 2], found f32[4]"
    );
    assert_eq!(
        error_of(graph.clone(), &[("x", input())], &["gone"]),
        "the graph has no value `gone`: it was fused into the node that computes `conv`"
    );
    assert_eq!(error_of(graph, &[("x", input())], &["never"]), "the graph has no value `never`");
}

#[test]
fn what_cannot_run_is_refused_by_name() {
    let ty = TensorType::new(DType::F32, [1usize, 1, 2, 2]);
    let x = Tensor::from_vec([1, 1, 2, 2], vec![0.0f32; 4]).unwrap();

    let mut editor = GraphEditor::new("opaque");
    let input = editor.add_input("x", ty.clone()).unwrap();
    let op = Op::Opaque(Opaque {
        domain: String::from("com.example"),
        op_type: String::from("Swirl"),
        attributes: Attributes::new(),
    });
    let y = editor.add_typed_node("swirl", op, &[Some(input)], vec![(String::from("y"), ty)]).unwrap();
    editor.add_output(y[0]);
    assert_eq!(
        error_of(editor.build().unwrap(), &[("x", x)], &[]),
        "node `swirl` (Swirl): operator com.example.Swirl is not supported; supported: operators of the families in \
         the documentation of calipers_ir::Op"
    );
}

#[test]
fn an_instruction_set_that_is_not_there_is_an_error() {
    let missing = Isa::ALL.into_iter().find(|isa| isa.supported().is_none()).unwrap();
    let options = SessionOptions { isa: Some(missing), ..SessionOptions::default() };
    let error = Session::new(quantized(true), options).err().unwrap().to_string();
    assert!(error.contains(missing.name()) && error.contains("scalar"), "{error}");
}
