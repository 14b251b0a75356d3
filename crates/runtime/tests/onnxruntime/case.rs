//! A comparison, and building the graphs of comparisons.

use calipers_ir::{
    DType, DequantizeLinear, Graph, GraphEditor, Op, QuantizeLinear, Tensor, TensorType, ValueId,
};

/// One graph on one set of inputs.
pub struct Case {
    pub name: String,
    pub graph: Graph,
    pub inputs: Vec<(String, Tensor)>,
    /// The operator that ONNX Runtime must have made of the pattern.
    pub runs_as: Option<&'static str>,
    /// The kernel that the plan must have.
    pub kernel: Option<String>,
    pub agreement: Agreement,
}

/// How closely results must agree.
pub enum Agreement {
    /// Every number.
    Exact,
    /// Every number to one step, and all but this share exactly.
    #[allow(dead_code)] // The cause is there to be read.
    OneStep { share: f64, cause: &'static str },
    /// To this fraction of the largest number, or of 1.
    Relative(f64),
}

/// How integers stand for real numbers, and their storage type.
#[derive(Clone, Copy)]
pub struct Scale {
    pub scale: f32,
    pub zero_point: i32,
    pub dtype: DType,
}

pub fn unsigned(scale: f32, zero_point: i32) -> Scale {
    Scale { scale, zero_point, dtype: DType::U8 }
}

pub fn signed(scale: f32, zero_point: i32) -> Scale {
    Scale { scale, zero_point, dtype: DType::I8 }
}

/// A seeded generator of words (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(name: &str) -> Random {
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Uniform in -1..1.
    pub fn unit(&mut self) -> f32 {
        (self.word() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, shape: &[usize]) -> Tensor {
        let count = shape.iter().product();
        Tensor::from_vec(shape, (0..count).map(|_| self.unit()).collect::<Vec<f32>>()).expect("a tensor")
    }

    /// Integers over the whole range of the type.
    pub fn integers(&mut self, shape: &[usize], dtype: DType) -> Tensor {
        let bytes: Vec<u8> = (0..shape.iter().product()).map(|_| self.word() as u8).collect();
        Tensor::new(dtype, shape, bytes.into()).expect("a tensor")
    }
}

/// A graph under construction with the inputs that it will run on.
pub struct Build {
    pub editor: GraphEditor,
    pub random: Random,
    name: String,
    inputs: Vec<(String, Tensor)>,
    count: usize,
}

impl Build {
    pub fn new(name: impl Into<String>) -> Build {
        let name = name.into();
        let random = Random::new(&name);
        Build { editor: GraphEditor::new("case"), random, name, inputs: Vec::new(), count: 0 }
    }

    fn fresh(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}_{}", self.count)
    }

    pub fn input(&mut self, tensor: Tensor) -> ValueId {
        let name = self.fresh("input");
        self.inputs.push((name.clone(), tensor.clone()));
        let ty: TensorType = tensor.tensor_type();
        self.editor.add_input(name, ty).expect("an input")
    }

    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        let name = self.fresh("constant");
        self.editor.add_constant(name, tensor).expect("a constant")
    }

    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = self.fresh("node");
        self.editor.add(&name, op, inputs).expect("a node")
    }

    /// An input of random integers, dequantized.
    pub fn quantized_input(&mut self, shape: &[usize], scale: Scale) -> ValueId {
        let tensor = self.random.integers(shape, scale.dtype);
        let integers = self.input(tensor);
        self.dequantize(integers, scale)
    }

    pub fn dequantize(&mut self, integers: ValueId, scale: Scale) -> ValueId {
        let (scale, zero_point) = self.parameters(scale);
        let op = Op::DequantizeLinear(DequantizeLinear { axis: 1, block_size: 0 });
        self.node(op, &[integers, scale, zero_point])
    }

    pub fn quantize(&mut self, real: ValueId, scale: Scale) -> ValueId {
        let dtype = scale.dtype;
        let (scale, zero_point) = self.parameters(scale);
        let op = Op::QuantizeLinear(QuantizeLinear { axis: 1, block_size: 0, saturate: true, dtype });
        self.node(op, &[real, scale, zero_point])
    }

    fn parameters(&mut self, scale: Scale) -> (ValueId, ValueId) {
        let zero_point = Tensor::new(scale.dtype, [], vec![scale.zero_point as u8].into()).expect("a scalar");
        (self.constant(Tensor::scalar(scale.scale)), self.constant(zero_point))
    }

    /// Constant random signed weights, dequantized with a scale for each slice along `axis` or one for all.
    pub fn weights(&mut self, shape: &[usize], axis: usize, per_channel: bool) -> (ValueId, Vec<f32>) {
        let integers = self.random.integers(shape, DType::I8);
        let count = if per_channel { shape[axis] } else { 1 };
        let scales: Vec<f32> = (0..count).map(|_| 0.002 + 0.01 * self.random.unit().abs()).collect();
        let zero_points = vec![0i8; count];
        let extents: Vec<usize> = if per_channel { vec![count] } else { vec![] };
        let integers = self.constant(integers);
        let scale = self.constant(Tensor::from_vec(extents.clone(), scales.clone()).expect("scales"));
        let zero_point = self.constant(Tensor::from_vec(extents, zero_points).expect("zero points"));
        let op = Op::DequantizeLinear(DequantizeLinear { axis: axis as i64, block_size: 0 });
        (self.node(op, &[integers, scale, zero_point]), scales)
    }

    /// A constant random bias of 32-bit integers in units of `input scale * weight scale`, dequantized.
    pub fn bias(&mut self, channels: usize, input_scale: f32, weight_scales: &[f32]) -> ValueId {
        let integers: Vec<i32> = (0..channels).map(|_| (self.random.word() as i32) >> 18).collect();
        let scales: Vec<f32> = weight_scales.iter().map(|scale| input_scale * scale).collect();
        let extents: Vec<usize> = if scales.len() > 1 { vec![scales.len()] } else { vec![] };
        let zero_points = vec![0i32; scales.len()];
        let integers = self.constant(Tensor::from_vec([channels], integers).expect("a bias"));
        let scale = self.constant(Tensor::from_vec(extents.clone(), scales).expect("scales"));
        let zero_point = self.constant(Tensor::from_vec(extents, zero_points).expect("zero points"));
        let op = Op::DequantizeLinear(DequantizeLinear { axis: 0, block_size: 0 });
        self.node(op, &[integers, scale, zero_point])
    }

    pub fn finish(
        mut self,
        output: ValueId,
        runs_as: Option<&'static str>,
        kernel: Option<String>,
        agreement: Agreement,
    ) -> Case {
        self.editor.add_output(output);
        let graph = self.editor.build().expect("a graph");
        Case { name: self.name, graph, inputs: self.inputs, runs_as, kernel, agreement }
    }
}
