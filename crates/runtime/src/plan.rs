//! An immutable compiled graph: steps with packed constants, and the place of every buffer.

use std::time::{Duration, Instant};

use bytemuck::cast_slice;
use calipers_ir::{DType, Tensor, TensorType};
use calipers_kernels::Execution;

use crate::arena::{Memory, Slot, lay_out};
use crate::error::Error;
use crate::kernel::{Kernel, permute};
use crate::lower::{
    Argument, Definition, Delivery, Lowered, Operand, PackCache, Place, Scope, Step, Work, lower,
};

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
    /// Bytes of all results.
    pub bytes: usize,
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
    /// Compiles what the outputs and wanted values of a scope need.
    pub(crate) fn new(scope: &Scope<'_>, packs: &mut PackCache) -> Result<Plan, Error> {
        let Lowered { steps, lifetimes, constants, taps, outputs } = lower(scope, packs)?;
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
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Tensor>, Error> {
        let mut taps = self.taps.iter().peekable();
        for done in 0..=self.steps.len() {
            while let Some((_, delivery)) = taps.next_if(|(after, _)| *after <= done) {
                if let Watch::Values(value) = watch {
                    value(&delivery.name, &self.deliver(delivery, memory, inputs));
                }
            }
            let Some(step) = self.steps.get(done) else { break };
            let begin = matches!(watch, Watch::Times(_)).then(Instant::now);
            match pool {
                Some(pool) => pool.install(|| self.run_step(step, execution, memory, inputs))?,
                None => self.run_step(step, execution, memory, inputs)?,
            }
            if let (Watch::Times(time), Some(begin)) = (&mut *watch, begin) {
                time(&step.info, begin.elapsed());
            }
        }
        Ok(self.outputs.iter().map(|delivery| self.deliver(delivery, memory, inputs)).collect())
    }

    fn run_step(
        &self,
        step: &Step,
        execution: Execution,
        memory: &mut Memory,
        inputs: &[&[u8]],
    ) -> Result<(), Error> {
        match &step.work {
            Work::Kernel { kernel, inputs: operands, output } => {
                self.run_kernel(kernel, *operands, *output, execution, memory, inputs);
                Ok(())
            }
            Work::Tensors { definition, inputs: arguments, outputs } => {
                self.run_on_tensors(&step.info.node, definition, arguments, outputs, memory, inputs)
            }
        }
    }

    fn run_on_tensors(
        &self,
        node: &str,
        definition: &Definition,
        arguments: &[Option<Argument>],
        outputs: &[Place],
        memory: &mut Memory,
        inputs: &[&[u8]],
    ) -> Result<(), Error> {
        let tensors: Vec<Option<Tensor>> = arguments
            .iter()
            .map(|argument| {
                Some(match argument.as_ref()? {
                    Argument::Constant(tensor) => tensor.clone(),
                    Argument::Computed { operand, dtype, shape } => {
                        let count: usize = shape.iter().product();
                        let bytes = self.operand(*operand, memory, inputs);
                        let packed = dtype.packed_bytes(count).unwrap_or(0);
                        tensor(*dtype, shape, &bytes[..packed])
                    }
                })
            })
            .collect();
        let borrowed: Vec<Option<&Tensor>> = tensors.iter().map(Option::as_ref).collect();
        let results = definition.run(node, &borrowed, outputs.len())?;
        for (index, place) in outputs.iter().enumerate() {
            let fits = |result: &&Tensor| result.dtype() == place.dtype && result.shape() == place.shape;
            let Some(result) = results.get(index).filter(fits) else {
                return Err(Error::Disagreement {
                    node: node.to_owned(),
                    expected: TensorType::new(place.dtype, place.shape.iter().copied()).to_string(),
                    found: results
                        .get(index)
                        .map_or_else(|| String::from("nothing"), |result| result.tensor_type().to_string()),
                });
            };
            let (target, _) = memory.borrow(&self.slots[place.buffer], [None, None]);
            target.copy_from_slice(&result.bytes());
        }
        Ok(())
    }

    fn run_kernel(
        &self,
        kernel: &Kernel,
        operands: [Option<Operand>; 2],
        output: usize,
        execution: Execution,
        memory: &mut Memory,
        inputs: &[&[u8]],
    ) {
        let slots = operands.map(|operand| match operand {
            Some(Operand::Buffer(buffer)) => Some(&self.slots[buffer]),
            Some(Operand::Input(_) | Operand::Constant(_)) | None => None,
        });
        let (output, mut read) = memory.borrow(&self.slots[output], slots);
        for (read, operand) in read.iter_mut().zip(operands) {
            match operand {
                Some(Operand::Input(index)) => *read = inputs[index],
                Some(Operand::Constant(index)) => *read = self.constant(index),
                Some(Operand::Buffer(_)) | None => {}
            }
        }
        kernel.run(execution, read, output);
    }

    /// The bytes of an operand; those of a constant are followed by padding.
    fn operand<'a>(&'a self, operand: Operand, memory: &'a Memory, inputs: &[&'a [u8]]) -> &'a [u8] {
        match operand {
            Operand::Input(index) => inputs[index],
            Operand::Constant(index) => self.constant(index),
            Operand::Buffer(buffer) => {
                let slot = &self.slots[buffer];
                memory.bytes(slot.words.clone(), slot.bytes)
            }
        }
    }

    fn constant(&self, index: usize) -> &[u8] {
        let memory = &self.constants[index];
        memory.bytes(0..memory.words(), memory.words() * 8)
    }

    fn deliver(&self, delivery: &Delivery, memory: &Memory, inputs: &[&[u8]]) -> Tensor {
        let count: usize = delivery.shape.iter().product();
        let width = delivery.dtype.bits().unwrap_or(8) / 8;
        let packed = delivery.dtype.packed_bytes(count).unwrap_or(0);
        let bytes = &self.operand(delivery.operand, memory, inputs)[..packed];
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
