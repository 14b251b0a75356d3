//! An immutable compiled graph: steps with packed constants, and the place of every buffer.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytemuck::cast_slice;
use calipers_ir::{DType, Graph, Tensor, ValueId};
use calipers_kernels::{Execution, Supported};

use crate::arena::{Memory, Slot, lay_out};
use crate::error::Error;
use crate::kernel::permute;
use crate::lower::{Delivery, Lowered, Operand, PackCache, Scope, Step, lower};
use crate::shapes::{Constants, concretize};

/// What a step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// Position in the plan.
    pub index: usize,
    /// Name of the node that the step ends at; for a step that only moves a value, the value's name.
    pub node: String,
    /// Name of the kernel and the type of its input, e.g. `convolve u8`.
    pub kernel: String,
    /// Logical extents of the result.
    pub shape: Vec<usize>,
}

/// A graph compiled for given input shapes, wanted values and instruction set.
pub struct Plan {
    steps: Vec<Step>,
    slots: Vec<Slot>,
    constants: Vec<Memory>,
    taps: Vec<(usize, Delivery)>,
    outputs: Vec<Delivery>,
    words: usize,
}

impl Plan {
    /// Compiles a graph. `inputs` are the input shapes in the graph's order.
    pub(crate) fn new(
        graph: &Graph,
        constants: &Constants<'_>,
        inputs: &[Vec<usize>],
        wanted: &HashSet<ValueId>,
        isa: Supported,
        packs: &mut PackCache,
    ) -> Result<Plan, Error> {
        let shapes = concretize(graph, constants, inputs)?;
        let scope = Scope { graph, constants, shapes: &shapes, wanted, isa };
        let Lowered { steps, lifetimes, constants, taps, outputs } = lower(&scope, packs)?;
        let (slots, words) = lay_out(&lifetimes);
        Ok(Plan { steps, slots, constants, taps, outputs, words })
    }

    /// The steps in the order in which they run.
    pub fn steps(&self) -> impl Iterator<Item = &StepInfo> {
        self.steps.iter().map(|step| &step.info)
    }

    /// Bytes of memory that a run needs beside constants, inputs and outputs.
    pub fn arena_bytes(&self) -> usize {
        self.words * 8
    }

    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Runs the steps and returns the outputs. `inputs` are aligned and of the planned shapes.
    ///
    /// With `execution.threads > 1` the caller runs this inside its pool, or gives the pool for the single steps.
    pub(crate) fn run(
        &self,
        execution: Execution,
        pool: Option<&rayon::ThreadPool>,
        memory: &mut Memory,
        inputs: &[&[u8]],
        mut watch: Watch<'_>,
    ) -> Vec<Tensor> {
        let mut taps = self.taps.iter().peekable();
        for done in 0..=self.steps.len() {
            while let Some((_, delivery)) = taps.next_if(|(after, _)| *after <= done) {
                if let Watch::Values(value) = &mut watch {
                    value(&delivery.name, &self.deliver(delivery, memory, inputs));
                }
            }
            let Some(step) = self.steps.get(done) else { break };
            let begin = matches!(watch, Watch::Times(_)).then(Instant::now);
            match pool {
                Some(pool) => pool.install(|| self.run_step(step, execution, memory, inputs)),
                None => self.run_step(step, execution, memory, inputs),
            }
            if let (Watch::Times(time), Some(begin)) = (&mut watch, begin) {
                time(&step.info, begin.elapsed());
            }
        }
        self.outputs.iter().map(|delivery| self.deliver(delivery, memory, inputs)).collect()
    }

    fn run_step(&self, step: &Step, execution: Execution, memory: &mut Memory, inputs: &[&[u8]]) {
        let slots = step.inputs.map(|operand| match operand {
            Some(Operand::Buffer(buffer)) => Some(&self.slots[buffer]),
            Some(Operand::Input(_) | Operand::Constant(_)) | None => None,
        });
        let (output, mut read) = memory.borrow(&self.slots[step.output], slots);
        for (read, operand) in read.iter_mut().zip(step.inputs) {
            match operand {
                Some(Operand::Input(index)) => *read = inputs[index],
                Some(Operand::Constant(index)) => *read = self.constant(index),
                Some(Operand::Buffer(_)) | None => {}
            }
        }
        step.kernel.run(execution, read, output);
    }

    fn constant(&self, index: usize) -> &[u8] {
        let memory = &self.constants[index];
        memory.bytes(0..memory.words(), memory.words() * 8)
    }

    fn deliver(&self, delivery: &Delivery, memory: &Memory, inputs: &[&[u8]]) -> Tensor {
        let count: usize = delivery.shape.iter().product();
        let width = delivery.dtype.bits().unwrap_or(8) / 8;
        let bytes = match delivery.operand {
            Operand::Input(index) => inputs[index],
            Operand::Constant(index) => &self.constant(index)[..count * width],
            Operand::Buffer(buffer) => {
                let slot = &self.slots[buffer];
                memory.bytes(slot.words.clone(), slot.bytes)
            }
        };
        // Eight-byte words keep the alignment of any element.
        let mut copy = vec![0u64; bytes.len().div_ceil(8)];
        let target = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut copy)[..bytes.len()];
        match &delivery.reorder {
            Some((shape, permutation)) => permute(width, shape, permutation, bytes, target),
            None => target.copy_from_slice(bytes),
        }
        tensor(delivery.dtype, &delivery.shape, target)
    }
}

/// What is looked at during a run.
pub(crate) enum Watch<'a> {
    Nothing,
    Values(&'a mut dyn FnMut(&str, &Tensor)),
    Times(&'a mut dyn FnMut(&StepInfo, Duration)),
}

/// A tensor of bytes whose count fits type and shape.
fn tensor(dtype: DType, shape: &[usize], bytes: &[u8]) -> Tensor {
    let made = match dtype {
        DType::F32 => Tensor::from_vec::<f32>(shape, cast_slice(bytes).to_vec()),
        DType::U8 => Tensor::from_vec::<u8>(shape, bytes.to_vec()),
        DType::I8 => Tensor::from_vec::<i8>(shape, cast_slice(bytes).to_vec()),
        DType::I32 => Tensor::from_vec::<i32>(shape, cast_slice(bytes).to_vec()),
        DType::I64 => Tensor::from_vec::<i64>(shape, cast_slice(bytes).to_vec()),
        other => Tensor::new(other, shape, bytes.to_vec().into()),
    };
    match made {
        Ok(tensor) => tensor,
        Err(error) => unreachable!("the plan gave a value another size than its type: {error}"),
    }
}
