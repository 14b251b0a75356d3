//! Operators as names with untyped attributes and back: the one table behind the text form.

use super::family::{Family, Field};
use super::{
    Activation, BatchNormalization, BinaryKind, Clip, Control, Conv, ConvTranspose, Creation,
    DequantizeLinear, Gemm, Image, Indexing, Layout, Movement, Normalize, Op, Opaque, Pool, PoolKind,
    Product, QuantizeLinear, Recurrent, Reduce, Scanning, Select, Signal, UnaryKind, VariadicKind, Window,
};
use crate::{Attribute, Attributes, DType};

const OPAQUE_DOMAIN: &str = "opaque_domain";

/// The attributes of an operator that differ from their defaults.
pub(super) fn of(op: &Op) -> Attributes {
    let mut out = Writer(Attributes::new());
    match op {
        Op::Conv(conv) | Op::ConvInteger(conv) => {
            out.int_unless("groups", conv.groups as i64, 1);
            out.window(&conv.window);
            out.layout(conv.layout);
            out.activation(conv.activation);
        }
        Op::ConvTranspose(conv) => {
            out.int_unless("groups", conv.groups as i64, 1);
            out.window(&conv.window);
            if conv.output_padding.iter().any(|&padding| padding != 0) {
                out.ints("output_padding", &conv.output_padding);
            }
            out.layout(conv.layout);
            out.activation(conv.activation);
        }
        Op::Gemm(gemm) => {
            out.float_unless("alpha", gemm.alpha, 1.0);
            out.float_unless("beta", gemm.beta, 1.0);
            out.int_unless("transpose_a", gemm.transpose_a.into(), 0);
            out.int_unless("transpose_b", gemm.transpose_b.into(), 0);
            out.activation(gemm.activation);
        }
        Op::Binary(kind, activation) => {
            kind.write(&mut out);
            out.activation(*activation);
        }
        Op::Product(family) => family.write(&mut out),
        Op::Unary(family) => family.write(&mut out),
        Op::Variadic(family) => family.write(&mut out),
        Op::Select(family) => family.write(&mut out),
        Op::Normalize(family) => family.write(&mut out),
        Op::Reduce(family) => family.write(&mut out),
        Op::Scanning(family) => family.write(&mut out),
        Op::Movement(family) => family.write(&mut out),
        Op::Indexing(family) => family.write(&mut out),
        Op::Creation(family) => family.write(&mut out),
        Op::Image(family) => family.write(&mut out),
        Op::Signal(family) => family.write(&mut out),
        Op::Recurrent(family) => family.write(&mut out),
        Op::Control(family) => family.write(&mut out),
        Op::Clip(clip) => out.clip(*clip),
        Op::Pool(pool) => {
            out.ints("kernel", &pool.kernel);
            out.window(&pool.window);
            out.int_unless("ceil", pool.ceil.into(), 0);
            out.int_unless("column_major", pool.column_major.into(), 0);
            out.pool_kind(pool.kind);
            out.layout(pool.layout);
        }
        Op::GlobalPool(kind, layout) => {
            out.pool_kind(*kind);
            out.layout(*layout);
        }
        Op::BatchNormalization(norm) => {
            out.float_unless("epsilon", norm.epsilon, 1e-5);
            out.float_unless("momentum", norm.momentum, 0.9);
            out.layout(norm.layout);
        }
        Op::Flatten { axis } => out.int_unless("axis", *axis, 1),
        Op::Transpose { permutation } => out.ints("permutation", permutation),
        Op::QuantizeLinear(quantize) => {
            out.set("dtype", Attribute::Type(quantize.dtype));
            out.int_unless("axis", quantize.axis, 1);
            out.int_unless("block_size", quantize.block_size as i64, 0);
            out.int_unless("saturate", quantize.saturate.into(), 1);
        }
        Op::DequantizeLinear(dequantize) => {
            out.int_unless("axis", dequantize.axis, 1);
            out.int_unless("block_size", dequantize.block_size as i64, 0);
        }
        Op::MatMul | Op::Reshape | Op::DynamicQuantizeLinear => {}
        Op::Opaque(opaque) => {
            out.set(OPAQUE_DOMAIN, Attribute::String(opaque.domain.clone().into_bytes()));
            out.0.extend(opaque.attributes.clone());
        }
    }
    out.0
}

/// The operator of that name with those attributes.
pub(super) fn parse(name: &str, attributes: Attributes) -> Result<Op, String> {
    if attributes.contains_key(OPAQUE_DOMAIN) {
        let mut attributes = attributes;
        let Some(Attribute::String(domain)) = attributes.shift_remove(OPAQUE_DOMAIN) else {
            return Err(format!("attribute `{OPAQUE_DOMAIN}` must be a string"));
        };
        let domain = String::from_utf8(domain).map_err(|_| format!("`{OPAQUE_DOMAIN}` is not UTF-8"))?;
        return Ok(Op::Opaque(Opaque { domain, op_type: name.to_owned(), attributes }));
    }
    let mut read = Reader { op: name, attributes };
    let op = match name {
        "Conv" => Op::Conv(read.conv()?),
        "ConvInteger" => Op::ConvInteger(read.conv()?),
        "ConvTranspose" => {
            let window = read.window()?;
            let output_padding = match read.attributes.contains_key("output_padding") {
                true => read.sizes("output_padding")?,
                false => vec![0; window.axes()],
            };
            Op::ConvTranspose(ConvTranspose {
                groups: read.size("groups", Some(1))?,
                window,
                output_padding,
                layout: read.layout()?,
                activation: read.activation()?,
            })
        }
        "Gemm" => Op::Gemm(Gemm {
            alpha: read.float("alpha", Some(1.0))?,
            beta: read.float("beta", Some(1.0))?,
            transpose_a: read.flag("transpose_a", false)?,
            transpose_b: read.flag("transpose_b", false)?,
            activation: read.activation()?,
        }),
        "MatMul" => Op::MatMul,
        "Clip" => Op::Clip(read.clip()?),
        "MaxPool" | "AveragePool" | "LpPool" => Op::Pool(Pool {
            kind: read.pool_kind(name)?,
            kernel: read.sizes("kernel")?,
            window: read.window()?,
            ceil: read.flag("ceil", false)?,
            column_major: read.flag("column_major", false)?,
            layout: read.layout()?,
        }),
        "GlobalMaxPool" | "GlobalAveragePool" | "GlobalLpPool" => {
            Op::GlobalPool(read.pool_kind(name)?, read.layout()?)
        }
        "BatchNormalization" => Op::BatchNormalization(BatchNormalization {
            epsilon: read.float("epsilon", Some(1e-5))?,
            momentum: read.float("momentum", Some(0.9))?,
            layout: read.layout()?,
        }),
        "Reshape" => Op::Reshape,
        "Flatten" => Op::Flatten { axis: read.int("axis", Some(1))? },
        "Transpose" => Op::Transpose { permutation: read.sizes("permutation")? },
        "QuantizeLinear" => Op::QuantizeLinear(QuantizeLinear {
            axis: read.int("axis", Some(1))?,
            block_size: read.size("block_size", Some(0))?,
            saturate: read.flag("saturate", true)?,
            dtype: read.dtype("dtype")?,
        }),
        "DequantizeLinear" => Op::DequantizeLinear(DequantizeLinear {
            axis: read.int("axis", Some(1))?,
            block_size: read.size("block_size", Some(0))?,
        }),
        "DynamicQuantizeLinear" => Op::DynamicQuantizeLinear,
        _ => match of_family(name, &mut read) {
            Some(op) => op?,
            None => {
                return Err(format!(
                    "`{name}` is not an operator; one that is kept as read needs the attribute `{OPAQUE_DOMAIN}`"
                ));
            }
        },
    };
    match read.attributes.keys().next() {
        Some(unknown) => Err(format!("{name} has no attribute `{unknown}`")),
        None => Ok(op),
    }
}

macro_rules! family_to_op {
    ($($family:ident => $variant:ident),*) => {
        $( impl From<$family> for Op {
            fn from(family: $family) -> Op {
                Op::$variant(family)
            }
        } )*
    };
}
family_to_op!(
    UnaryKind => Unary, VariadicKind => Variadic, Select => Select, Product => Product, Normalize => Normalize,
    Reduce => Reduce, Scanning => Scanning, Movement => Movement, Indexing => Indexing, Creation => Creation,
    Image => Image, Signal => Signal, Recurrent => Recurrent, Control => Control
);

/// The operator of that name in whichever family has it.
fn of_family(name: &str, read: &mut Reader<'_>) -> Option<Result<Op, String>> {
    macro_rules! try_families {
        ($($family:ident),*) => {
            $( if let Some(found) = $family::read(name, read) { return Some(found.map(Op::from)); } )*
        };
    }
    try_families!(
        UnaryKind,
        VariadicKind,
        Select,
        Product,
        Normalize,
        Reduce,
        Scanning,
        Movement,
        Indexing,
        Creation,
        Image,
        Signal,
        Recurrent,
        Control
    );
    let kind = BinaryKind::read(name, read)?;
    Some(kind.and_then(|kind| Ok(Op::Binary(kind, read.activation()?))))
}

pub(super) struct Writer(Attributes);

impl Writer {
    /// An attribute of a family, unless it is at its default.
    pub(super) fn field<T: Field>(&mut self, name: &str, value: &T, default: &T) {
        if value != default
            && let Some(attribute) = value.to_attribute()
        {
            self.set(name, attribute);
        }
    }

    fn set(&mut self, name: &str, value: Attribute) {
        self.0.insert(name.to_owned(), value);
    }

    fn int_unless(&mut self, name: &str, value: i64, default: i64) {
        if value != default {
            self.set(name, Attribute::Int(value));
        }
    }

    fn float_unless(&mut self, name: &str, value: f32, default: f32) {
        if value.to_bits() != default.to_bits() {
            self.set(name, Attribute::Float(value));
        }
    }

    fn ints(&mut self, name: &str, values: &[usize]) {
        self.set(name, Attribute::Ints(values.iter().map(|&value| value as i64).collect()));
    }

    fn window(&mut self, window: &Window) {
        self.ints("strides", &window.strides);
        if window.dilations.iter().any(|&dilation| dilation != 1) {
            self.ints("dilations", &window.dilations);
        }
        let pads = [window.pads_begin.as_slice(), &window.pads_end].concat();
        if pads.iter().any(|&pad| pad != 0) {
            self.ints("pads", &pads);
        }
    }

    fn layout(&mut self, layout: Layout) {
        if layout == Layout::Nhwc {
            self.set("layout", Attribute::String(b"nhwc".to_vec()));
        }
    }

    fn clip(&mut self, clip: Clip) {
        self.float_unless("min", clip.min, f32::NEG_INFINITY);
        self.float_unless("max", clip.max, f32::INFINITY);
    }

    fn activation(&mut self, activation: Activation) {
        match activation {
            Activation::None => {}
            Activation::Relu => self.set("activation", Attribute::String(b"relu".to_vec())),
            Activation::Clip(clip) => {
                self.set("activation", Attribute::String(b"clip".to_vec()));
                self.clip(clip);
            }
        }
    }

    fn pool_kind(&mut self, kind: PoolKind) {
        match kind {
            PoolKind::Max => {}
            PoolKind::Average { count_include_pad } => {
                self.int_unless("count_include_pad", count_include_pad.into(), 0);
            }
            PoolKind::Lp { p } => self.int_unless("p", p as i64, 2),
        }
    }
}

pub(super) struct Reader<'a> {
    op: &'a str,
    attributes: Attributes,
}

impl Reader<'_> {
    /// An attribute of a family.
    pub(super) fn field<T: Field>(&mut self, name: &str, default: T) -> Result<T, String> {
        match self.take(name) {
            None => Ok(default),
            Some(attribute) => T::of_attribute(attribute).or_else(|expected| self.wrong(name, expected)),
        }
    }

    fn conv(&mut self) -> Result<Conv, String> {
        Ok(Conv {
            groups: self.size("groups", Some(1))?,
            window: self.window()?,
            layout: self.layout()?,
            activation: self.activation()?,
        })
    }

    fn take(&mut self, name: &str) -> Option<Attribute> {
        self.attributes.shift_remove(name)
    }

    fn wrong<T>(&self, name: &str, expected: &str) -> Result<T, String> {
        Err(format!("attribute `{name}` of {} must be {expected}", self.op))
    }

    fn int(&mut self, name: &str, default: Option<i64>) -> Result<i64, String> {
        match (self.take(name), default) {
            (Some(Attribute::Int(value)), _) => Ok(value),
            (None, Some(default)) => Ok(default),
            _ => self.wrong(name, "an integer"),
        }
    }

    fn size(&mut self, name: &str, default: Option<i64>) -> Result<usize, String> {
        let value = self.int(name, default)?;
        usize::try_from(value).or_else(|_| self.wrong(name, "an integer of 0 or more"))
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool, String> {
        match self.int(name, Some(default.into()))? {
            0 => Ok(false),
            1 => Ok(true),
            _ => self.wrong(name, "0 or 1"),
        }
    }

    fn float(&mut self, name: &str, default: Option<f32>) -> Result<f32, String> {
        match (self.take(name), default) {
            (Some(Attribute::Float(value)), _) => Ok(value),
            (None, Some(default)) => Ok(default),
            _ => self.wrong(name, "a float"),
        }
    }

    fn sizes(&mut self, name: &str) -> Result<Vec<usize>, String> {
        let Some(Attribute::Ints(values)) = self.take(name) else {
            return self.wrong(name, "a list of integers");
        };
        match values.into_iter().map(usize::try_from).collect() {
            Ok(sizes) => Ok(sizes),
            Err(_) => self.wrong(name, "a list of integers of 0 or more"),
        }
    }

    fn dtype(&mut self, name: &str) -> Result<DType, String> {
        match self.take(name) {
            Some(Attribute::Type(dtype)) => Ok(dtype),
            _ => self.wrong(name, "a storage type"),
        }
    }

    fn word(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Attribute::String(word)) => Ok(Some(String::from_utf8_lossy(&word).into_owned())),
            Some(_) => self.wrong(name, "a string"),
        }
    }

    fn window(&mut self) -> Result<Window, String> {
        let strides = self.sizes("strides")?;
        let axes = strides.len();
        let dilations =
            if self.attributes.contains_key("dilations") { self.sizes("dilations")? } else { vec![1; axes] };
        let pads = if self.attributes.contains_key("pads") { self.sizes("pads")? } else { vec![0; 2 * axes] };
        if dilations.len() != axes || pads.len() != 2 * axes {
            return self.wrong("pads", "two numbers, and `dilations` one, for each stride");
        }
        let pads_end = pads[axes..].to_vec();
        Ok(Window { strides, dilations, pads_begin: pads[..axes].to_vec(), pads_end })
    }

    fn layout(&mut self) -> Result<Layout, String> {
        match self.word("layout")?.as_deref() {
            None | Some("nchw") => Ok(Layout::Nchw),
            Some("nhwc") => Ok(Layout::Nhwc),
            Some(_) => self.wrong("layout", "\"nchw\" or \"nhwc\""),
        }
    }

    fn clip(&mut self) -> Result<Clip, String> {
        Ok(Clip {
            min: self.float("min", Some(f32::NEG_INFINITY))?,
            max: self.float("max", Some(f32::INFINITY))?,
        })
    }

    fn activation(&mut self) -> Result<Activation, String> {
        match self.word("activation")?.as_deref() {
            None => Ok(Activation::None),
            Some("relu") => Ok(Activation::Relu),
            Some("clip") => Ok(Activation::Clip(self.clip()?)),
            Some(_) => self.wrong("activation", "\"relu\" or \"clip\""),
        }
    }

    fn pool_kind(&mut self, name: &str) -> Result<PoolKind, String> {
        Ok(match name {
            "MaxPool" | "GlobalMaxPool" => PoolKind::Max,
            "LpPool" | "GlobalLpPool" => PoolKind::Lp { p: self.size("p", Some(2))? },
            _ => PoolKind::Average { count_include_pad: self.flag("count_include_pad", false)? },
        })
    }
}
