//! The packed matrices of ONNX Runtime's MatMulNBits: rows of blocks, each padded, low bits first.

use calipers_ir::{DType, Tensor};

/// What the attributes say of a packed matrix of `rows` by `columns`.
pub(super) struct Form {
    pub bits: usize,
    pub rows: usize,
    pub columns: usize,
    pub block_size: usize,
}

impl Form {
    fn dtype(&self) -> Result<DType, String> {
        match self.bits {
            2 => Ok(DType::U2),
            4 => Ok(DType::U4),
            8 => Ok(DType::U8),
            other => Err(format!("attribute `bits`: expected 2, 4 or 8, found {other}")),
        }
    }

    /// Blocks of a row.
    fn blocks(&self) -> usize {
        self.columns.div_ceil(self.block_size)
    }

    /// The matrix, without the padding of its last blocks.
    pub fn weight(&self, packed: &Tensor) -> Result<Tensor, String> {
        let padded = self.blocks().checked_mul(self.block_size).ok_or("the matrix is too large")?;
        self.unpadded(packed, padded, self.columns)
    }

    /// One zero point for each block.
    pub fn zero_points(&self, packed: &Tensor) -> Result<Tensor, String> {
        let per_byte = 8 / self.dtype()?.bits().unwrap_or(8);
        self.unpadded(packed, self.blocks().next_multiple_of(per_byte), self.blocks())
    }

    pub fn scales(&self, scales: &Tensor) -> Result<Tensor, String> {
        scales.reshaped([self.rows, self.blocks()]).map_err(|error| format!("scales: {error}"))
    }

    /// The zero points that count when none are given: half of the range.
    pub fn middle(&self) -> Result<Tensor, String> {
        let dtype = self.dtype()?;
        let byte = match dtype {
            DType::U2 => 0b10_10_10_10,
            DType::U4 => 0x88,
            _ => 0x80,
        };
        let count = self.rows.checked_mul(self.blocks());
        let bytes = count.and_then(|count| dtype.packed_bytes(count)).ok_or("the matrix is too large")?;
        // There is a scale for each, which the file holds.
        let mut points = vec![byte; bytes];
        let used = count.unwrap_or(0) * dtype.bits().unwrap_or(8) % 8;
        if let Some(last) = points.last_mut().filter(|_| used != 0) {
            *last &= (1u8 << used) - 1;
        }
        Tensor::new(dtype, [self.rows, self.blocks()], points.into()).map_err(|error| error.to_string())
    }

    /// Rows of `stored` elements, of which the first `kept` count.
    fn unpadded(&self, packed: &Tensor, stored: usize, kept: usize) -> Result<Tensor, String> {
        let dtype = self.dtype()?;
        let width = self.bits;
        let row = stored.checked_mul(width).map(|bits| bits.div_ceil(8)).ok_or("the matrix is too large")?;
        let bytes = packed.bytes();
        if row.checked_mul(self.rows) != Some(bytes.len()) {
            return Err(format!(
                "the packed tensor of {} rows takes {} bytes each, found {} bytes in all",
                self.rows,
                row,
                bytes.len()
            ));
        }
        if stored == kept && (stored * width).is_multiple_of(8) {
            return Tensor::new(dtype, [self.rows, kept], bytes).map_err(|error| error.to_string());
        }
        let mut out = vec![0u8; (self.rows * kept * width).div_ceil(8)];
        let mask = u8::MAX >> (8 - width);
        for index in 0..self.rows * kept {
            let from = (index / kept) * row * 8 + (index % kept) * width;
            let element = (bytes[from / 8] >> (from % 8)) & mask;
            let to = index * width;
            out[to / 8] |= element << (to % 8);
        }
        Tensor::new(dtype, [self.rows, kept], out.into()).map_err(|error| error.to_string())
    }
}
