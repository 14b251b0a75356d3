//! Elements of any type, strings too, as cells that are moved without looking inside.

use std::borrow::Cow;

use bytes::Bytes;
use calipers_ir::{DType, Tensor, TensorError};

use crate::packing::{pack, unpack};

/// The elements of a tensor; those narrower than a byte stand one in a byte.
#[derive(Clone, Debug)]
pub(crate) struct Cells<'a> {
    dtype: DType,
    data: Data<'a>,
}

#[derive(Clone, Debug)]
enum Data<'a> {
    Shared(usize, Bytes),
    Owned(usize, Vec<u8>),
    Strings(Cow<'a, [Vec<u8>]>),
}

impl<'a> Cells<'a> {
    /// The elements of a tensor.
    pub(crate) fn of(tensor: &'a Tensor) -> Cells<'a> {
        let dtype = tensor.dtype();
        let data = match (tensor.strings(), dtype.bits()) {
            (Some(strings), _) => Data::Strings(Cow::Borrowed(strings)),
            (None, Some(bits)) if bits < 8 => Data::Owned(1, unpack(&tensor.bytes(), bits, tensor.len())),
            (None, bits) => Data::Shared(bits.unwrap_or(8) / 8, tensor.bytes()),
        };
        Cells { dtype, data }
    }

    /// `count` cells of zeros, false or empty strings.
    pub(crate) fn zeros(dtype: DType, count: usize) -> Cells<'static> {
        let data = match dtype.bits() {
            None => Data::Strings(Cow::Owned(vec![Vec::new(); count])),
            Some(bits) => {
                let width = bits.div_ceil(8);
                Data::Owned(width, vec![0; width * count])
            }
        };
        Cells { dtype, data }
    }

    /// Number of cells.
    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::Shared(width, bytes) => bytes.len() / width,
            Data::Owned(width, bytes) => bytes.len() / width,
            Data::Strings(strings) => strings.len(),
        }
    }

    /// The cells at `positions`, each below the length.
    pub(crate) fn gather(&self, positions: impl Iterator<Item = usize>) -> Cells<'static> {
        self.gather_runs(positions, 1)
    }

    /// Runs of `run` neighbouring cells, each from one of `starts` on; all lie within the length.
    pub(crate) fn gather_runs(&self, starts: impl Iterator<Item = usize>, run: usize) -> Cells<'static> {
        fn copy(bytes: &[u8], width: usize, starts: impl Iterator<Item = usize>, run: usize) -> Vec<u8> {
            let mut out = Vec::with_capacity(starts.size_hint().0 * run * width);
            starts.for_each(|start| out.extend_from_slice(&bytes[start * width..(start + run) * width]));
            out
        }
        let data = match &self.data {
            Data::Shared(width, bytes) => Data::Owned(*width, copy(bytes, *width, starts, run)),
            Data::Owned(width, bytes) => Data::Owned(*width, copy(bytes, *width, starts, run)),
            Data::Strings(strings) => {
                Data::Strings(starts.flat_map(|start| strings[start..start + run].iter().cloned()).collect())
            }
        };
        Cells { dtype: self.dtype, data }
    }

    /// The cells at `positions`, and the first cell of `fill`, which is of the same type, where there is none.
    pub(crate) fn gather_or(
        &self,
        positions: impl Iterator<Item = Option<usize>>,
        fill: &Cells<'_>,
    ) -> Cells<'static> {
        let mut both = self.clone();
        both.extend(fill);
        let outside = self.len();
        both.gather(positions.map(|position| position.unwrap_or(outside)))
    }

    /// Appends cells of the same type.
    pub(crate) fn extend(&mut self, other: &Cells<'_>) {
        match (self.owned(), &other.data) {
            (Data::Owned(_, bytes), Data::Owned(_, more)) => bytes.extend_from_slice(more),
            (Data::Owned(_, bytes), Data::Shared(_, more)) => bytes.extend_from_slice(more),
            (Data::Strings(strings), Data::Strings(more)) => strings.to_mut().extend_from_slice(more),
            _ => {}
        }
    }

    /// Overwrites cell `at` with cell `from` of `other`, which is of the same type; both lie within their lengths.
    pub(crate) fn set(&mut self, at: usize, other: &Cells<'_>, from: usize) {
        match (self.owned(), &other.data) {
            (Data::Owned(width, bytes), Data::Owned(_, source)) => {
                bytes[at * *width..][..*width].copy_from_slice(&source[from * *width..][..*width]);
            }
            (Data::Owned(width, bytes), Data::Shared(_, source)) => {
                bytes[at * *width..][..*width].copy_from_slice(&source[from * *width..][..*width]);
            }
            (Data::Strings(strings), Data::Strings(source)) => strings.to_mut()[at] = source[from].clone(),
            _ => {}
        }
    }

    /// A tensor of as many elements.
    pub(crate) fn into_tensor(self, shape: &[usize]) -> Result<Tensor, TensorError> {
        let count = self.len();
        if crate::shape::count(shape) != Some(count) {
            return Err(TensorError::Size {
                dtype: self.dtype,
                shape: shape.to_vec(),
                expected: crate::shape::count(shape).unwrap_or(usize::MAX),
                found: count,
            });
        }
        match (self.data, self.dtype.bits()) {
            (Data::Strings(strings), _) => Tensor::from_strings(shape, strings.into_owned()),
            (Data::Owned(_, codes), Some(bits)) if bits < 8 => {
                Tensor::new(self.dtype, shape, pack(&codes, bits).into())
            }
            (Data::Owned(_, bytes), _) => Tensor::new(self.dtype, shape, bytes.into()),
            (Data::Shared(_, bytes), _) => Tensor::new(self.dtype, shape, bytes),
        }
    }

    fn owned(&mut self) -> &mut Data<'a> {
        if let Data::Shared(width, bytes) = &self.data {
            self.data = Data::Owned(*width, bytes.to_vec());
        }
        &mut self.data
    }
}

#[cfg(test)]
mod tests {
    use super::Cells;
    use calipers_ir::{DType, Tensor};

    #[test]
    fn cells_of_every_kind_move() {
        let nibbles = Tensor::new(DType::U4, [3], vec![0x21, 0x03].into()).unwrap();
        let turned = Cells::of(&nibbles).gather([2, 0].into_iter()).into_tensor(&[2]).unwrap();
        assert_eq!(turned.bytes().as_ref(), [0x13]);
        let words = Tensor::from_strings([2], vec![b"a".to_vec(), b"b".to_vec()]).unwrap();
        let picked = Cells::of(&words)
            .gather_or([Some(1), None].into_iter(), &Cells::zeros(DType::String, 1))
            .into_tensor(&[2])
            .unwrap();
        assert_eq!(picked.strings().unwrap(), [b"b".to_vec(), Vec::new()]);
        let longs = Tensor::from_vec([2, 2], vec![1i64, 2, 3, 4]).unwrap();
        let mut cells = Cells::of(&longs).gather_runs([2].into_iter(), 2);
        cells.set(0, &Cells::of(&longs), 0);
        assert_eq!(cells.into_tensor(&[2]).unwrap().to_integers(), Some(vec![1, 4]));
    }
}
