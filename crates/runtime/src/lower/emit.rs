//! Writing steps down: where values lie, in which order, and how long they live.

use std::collections::{HashMap, HashSet};

use calipers_ir::{DType, Node, NodeId, Op, Tensor, ValueId};

use super::geometry::{Order, orders_agree};
use super::{Argument, Definition, Delivery, Lowered, Operand, Place, Scope, Step, Work};
use crate::arena::{Lifetime, Memory};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::plan::StepInfo;

/// Steps under construction.
pub(crate) struct Emitter<'a> {
    pub(crate) scope: &'a Scope<'a>,
    steps: Vec<Step>,
    lifetimes: Vec<Lifetime>,
    constants: Vec<Memory>,
    places: HashMap<(ValueId, Order), Operand>,
    delivered: HashSet<ValueId>,
    taps: Vec<(usize, Delivery)>,
}

impl<'a> Emitter<'a> {
    /// No steps; the inputs of the graph lie as the graph states them.
    pub(crate) fn new(scope: &'a Scope<'a>) -> Emitter<'a> {
        let inputs = scope.graph.inputs().iter().enumerate();
        Emitter {
            scope,
            steps: Vec::new(),
            lifetimes: Vec::new(),
            constants: Vec::new(),
            places: inputs.map(|(index, id)| ((*id, Order::Logical), Operand::Input(index))).collect(),
            delivered: HashSet::new(),
            taps: Vec::new(),
        }
    }

    /// The order in which a value lies; channels last where it lies in both.
    pub(crate) fn order(&self, value: ValueId) -> Order {
        match self.places.get(&(value, Order::ChannelsLast)) {
            Some(_) => Order::ChannelsLast,
            None => Order::Logical,
        }
    }

    /// A value in an order, moved there by a step of its own when it lies in another.
    pub(crate) fn operand(&mut self, value: ValueId, order: Order) -> Result<Operand, Error> {
        if let Some(operand) = self.places.get(&(value, order)) {
            return Ok(*operand);
        }
        let shape = self.scope.shape(value).to_vec();
        let other = match order {
            Order::Logical => Order::ChannelsLast,
            Order::ChannelsLast => Order::Logical,
        };
        let from = match self.places.get(&(value, other)) {
            Some(from) => *from,
            None => {
                let tensor = self.constant(value)?;
                let operand = self.constant_operand(&tensor, &shape, order);
                self.places.insert((value, order), operand);
                return Ok(operand);
            }
        };
        if orders_agree(&shape) {
            self.places.insert((value, order), from);
            return Ok(from);
        }
        let physical = other.physical(&shape);
        let axes = other.axes(shape.len());
        // Where the axes of the wanted order stand in the other one.
        let permutation = order
            .axes(shape.len())
            .iter()
            .filter_map(|axis| axes.iter().position(|other| other == axis))
            .collect();
        let kernel = Kernel::Permute { width: self.width(value)?, shape: physical, permutation };
        let info = self.info(&kernel, self.scope.graph.value(value).name.clone(), value)?;
        Ok(self.push_value(info, kernel, [Some(from), None], value, order))
    }

    /// The data of a value that follows from constants.
    pub(crate) fn constant(&self, value: ValueId) -> Result<Tensor, Error> {
        self.scope.constants.get(value)?.ok_or_else(|| Error::UnknownValue {
            name: self.scope.graph.value(value).name.clone(),
            fate: String::from(": nothing computes it"),
        })
    }

    /// A constant of another shape with equally many elements, in an order.
    pub(crate) fn constant_operand(&mut self, tensor: &Tensor, shape: &[usize], order: Order) -> Operand {
        let bytes = tensor.bytes();
        let memory = if order == Order::Logical || orders_agree(shape) {
            Memory::copy_of(&bytes)
        } else {
            let width = tensor.dtype().bits().unwrap_or(8) / 8;
            let source = Memory::copy_of(&bytes);
            let source = source.bytes(0..source.words(), bytes.len());
            let mut moved = Memory::new(bytes.len().div_ceil(8));
            let slot = crate::arena::Slot { words: 0..moved.words(), bytes: bytes.len() };
            let (target, _) = moved.borrow(&slot, [None, None]);
            crate::kernel::permute(width, shape, &order.axes(shape.len()), source, target);
            moved
        };
        self.constants.push(memory);
        Operand::Constant(self.constants.len() - 1)
    }

    /// Adds the step that computes `value` in an order.
    pub(crate) fn step(
        &mut self,
        end: NodeId,
        kernel: Kernel,
        inputs: [Option<Operand>; 2],
        value: ValueId,
        order: Order,
    ) -> Result<Operand, Error> {
        let info = self.info(&kernel, self.scope.graph.node(end).name.clone(), value)?;
        Ok(self.push_value(info, kernel, inputs, value, order))
    }

    /// Adds a step whose result has no name: an f32 buffer of these extents.
    pub(crate) fn anonymous(
        &mut self,
        end: NodeId,
        kernel: Kernel,
        inputs: [Option<Operand>; 2],
        shape: Vec<usize>,
    ) -> Operand {
        let bytes = shape.iter().product::<usize>() * size_of::<f32>();
        let info = StepInfo {
            index: self.steps.len(),
            node: self.scope.graph.node(end).name.clone(),
            kernel: kernel.name(),
            shape,
            bytes,
        };
        self.push(info, kernel, inputs)
    }

    /// Lets `value` lie where an operand does.
    pub(crate) fn alias(&mut self, value: ValueId, order: Order, operand: Operand) {
        self.places.insert((value, order), operand);
    }

    /// Where a value lies in an order, without moving it.
    pub(crate) fn place(&self, value: ValueId, order: Order) -> Option<Operand> {
        self.places.get(&(value, order)).copied()
    }

    /// Adds a step that computes an operator by its definition.
    pub(crate) fn operator(
        &mut self,
        end: NodeId,
        op: Op,
        inputs: &[Option<ValueId>],
        outputs: &[ValueId],
    ) -> Result<(), Error> {
        self.tensors(end, Definition::Operator(op), inputs, outputs)
    }

    /// Adds a step on tensors.
    pub(crate) fn tensors(
        &mut self,
        end: NodeId,
        definition: Definition,
        inputs: &[Option<ValueId>],
        outputs: &[ValueId],
    ) -> Result<(), Error> {
        let scope = self.scope;
        let node = scope.graph.node(end);
        let mut arguments = Vec::with_capacity(inputs.len());
        for input in inputs {
            arguments.push(match input {
                None => None,
                Some(value) if scope.constants.is_constant(*value) => {
                    Some(Argument::Constant(self.constant(*value)?))
                }
                Some(value) => {
                    self.packed_bytes(*value)?;
                    let operand = self.operand(*value, Order::Logical)?;
                    let (dtype, shape) = (scope.dtype(*value), scope.shape(*value).to_vec());
                    Some(Argument::Computed { operand, dtype, shape })
                }
            });
        }
        let now = self.steps.len();
        for argument in arguments.iter().flatten() {
            if let Argument::Computed { operand, .. } = argument {
                self.read(*operand, now);
            }
        }
        let mut results = Vec::with_capacity(outputs.len());
        let mut written = 0;
        for &value in outputs {
            let bytes = self.packed_bytes(value)?;
            written += bytes;
            self.lifetimes.push(Lifetime { bytes, first: now, last: now });
            let buffer = self.lifetimes.len() - 1;
            self.places.insert((value, Order::Logical), Operand::Buffer(buffer));
            results.push(Place { buffer, dtype: scope.dtype(value), shape: scope.shape(value).to_vec() });
        }
        let first = inputs.iter().flatten().next().map_or(DType::F32, |value| scope.dtype(*value));
        let info = StepInfo {
            index: now,
            node: node.name.clone(),
            kernel: match &definition {
                Definition::Operator(op) => format!("{op} {first} by definition"),
                Definition::TfLite(unit) => unit.name(),
            },
            shape: outputs.first().map_or_else(Vec::new, |value| scope.shape(*value).to_vec()),
            bytes: written,
        };
        self.steps
            .push(Step { info, work: Work::Tensors { definition, inputs: arguments, outputs: results } });
        Ok(())
    }

    /// Bytes of a value.
    fn packed_bytes(&self, value: ValueId) -> Result<usize, Error> {
        let dtype = self.scope.dtype(value);
        let elements =
            self.scope.shape(value).iter().try_fold(1usize, |count, extent| count.checked_mul(*extent));
        elements
            .and_then(|elements| dtype.packed_bytes(elements))
            .ok_or_else(|| Error::StorageType { value: self.scope.graph.value(value).name.clone(), dtype })
    }

    /// Bytes of an element of a value.
    pub(crate) fn width(&self, value: ValueId) -> Result<usize, Error> {
        let dtype = self.scope.dtype(value);
        match dtype.bits() {
            Some(bits @ (8 | 16 | 32 | 64)) => Ok(bits / 8),
            _ => Err(Error::StorageType { value: self.scope.graph.value(value).name.clone(), dtype }),
        }
    }

    /// Makes sure that a node's value is stored as f32.
    pub(crate) fn require_f32(&self, node: &Node, value: ValueId) -> Result<(), Error> {
        match self.scope.dtype(value) {
            DType::F32 => Ok(()),
            found => Err(self.scope.unsupported(node, format!("data of type {found}"), "f32")),
        }
    }

    /// Delivers those of the values that are wanted and lie somewhere by now.
    pub(crate) fn deliver_wanted(&mut self, values: impl IntoIterator<Item = ValueId>) -> Result<(), Error> {
        for value in values {
            if self.scope.wanted.contains(&value) && self.delivered.insert(value) {
                let delivery = self.delivery(value)?;
                self.taps.push((self.steps.len(), delivery));
            }
        }
        Ok(())
    }

    /// The steps, with the outputs of the graph living to the end.
    pub(crate) fn finish(mut self) -> Result<Lowered, Error> {
        let outputs: Vec<Delivery> =
            self.scope.outputs.iter().map(|id| self.delivery(*id)).collect::<Result<_, _>>()?;
        let end = self.steps.len();
        for delivery in &outputs {
            if let Operand::Buffer(buffer) = delivery.operand {
                self.lifetimes[buffer].last = end;
            }
        }
        Ok(Lowered {
            steps: self.steps,
            lifetimes: self.lifetimes,
            constants: self.constants,
            taps: self.taps,
            outputs,
        })
    }

    fn delivery(&mut self, value: ValueId) -> Result<Delivery, Error> {
        self.packed_bytes(value)?;
        let shape = self.scope.shape(value).to_vec();
        let order = self.order(value);
        let operand = self.operand(value, order)?;
        self.read(operand, self.steps.len());
        let reorder = (order == Order::ChannelsLast && !orders_agree(&shape)).then(|| {
            let axes = order.axes(shape.len());
            let back =
                (0..shape.len()).filter_map(|axis| axes.iter().position(|other| *other == axis)).collect();
            (order.physical(&shape), back)
        });
        let name = self.scope.graph.value(value).name.clone();
        Ok(Delivery { name, operand, dtype: self.scope.dtype(value), shape, reorder })
    }

    fn info(&self, kernel: &Kernel, node: String, value: ValueId) -> Result<StepInfo, Error> {
        Ok(StepInfo {
            index: self.steps.len(),
            node,
            kernel: kernel.name(),
            shape: self.scope.shape(value).to_vec(),
            bytes: self.packed_bytes(value)?,
        })
    }

    fn push_value(
        &mut self,
        info: StepInfo,
        kernel: Kernel,
        inputs: [Option<Operand>; 2],
        value: ValueId,
        order: Order,
    ) -> Operand {
        let output = self.push(info, kernel, inputs);
        self.places.insert((value, order), output);
        output
    }

    fn push(&mut self, info: StepInfo, kernel: Kernel, inputs: [Option<Operand>; 2]) -> Operand {
        let now = self.steps.len();
        for operand in inputs.into_iter().flatten() {
            self.read(operand, now);
        }
        self.lifetimes.push(Lifetime { bytes: info.bytes, first: now, last: now });
        let output = self.lifetimes.len() - 1;
        self.steps.push(Step { info, work: Work::Kernel { kernel, inputs, output } });
        Operand::Buffer(output)
    }

    fn read(&mut self, operand: Operand, step: usize) {
        if let Operand::Buffer(buffer) = operand {
            let last = &mut self.lifetimes[buffer].last;
            *last = step.max(*last);
        }
    }
}
