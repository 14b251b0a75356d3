//! One block of memory for everything that is computed: where each buffer lies, and borrowing several at once.

use std::ops::Range;

/// Words of a cache line, on which every buffer begins.
const LINE: usize = 8;

/// Zeroed memory in words that begins on a cache line.
pub(crate) struct Memory {
    words: Vec<u64>,
    start: usize,
}

impl Memory {
    pub(crate) fn new(words: usize) -> Memory {
        let memory = vec![0; words + LINE];
        let start = memory.as_ptr().addr() % (LINE * 8);
        Memory { start: (LINE * 8 - start) % (LINE * 8) / 8, words: memory }
    }

    /// A copy of some bytes.
    pub(crate) fn copy_of(bytes: &[u8]) -> Memory {
        let mut memory = Memory::new(bytes.len().div_ceil(8));
        bytemuck::cast_slice_mut(&mut memory.words[memory.start..])[..bytes.len()].copy_from_slice(bytes);
        memory
    }

    pub(crate) fn words(&self) -> usize {
        self.words.len() - LINE
    }

    /// The first bytes of a range of words.
    pub(crate) fn bytes(&self, words: Range<usize>, bytes: usize) -> &[u8] {
        &bytemuck::cast_slice(&self.words[self.start + words.start..self.start + words.end])[..bytes]
    }

    /// A buffer to write and up to two to read, each as a range of words and a count of bytes.
    ///
    /// The planner lets no buffer that is read overlap the one that is written.
    pub(crate) fn borrow(&mut self, write: &Slot, read: [Option<&Slot>; 2]) -> (&mut [u8], [&[u8]; 2]) {
        let start = self.start;
        let shifted = |slot: &Slot| start + slot.words.start..start + slot.words.end;
        let parts: (&mut [u64], [&[u64]; 2]) = match read {
            [None, None] => (&mut self.words[shifted(write)], [&[], &[]]),
            [Some(first), Some(second)] if first.words != second.words => {
                let ranges = [shifted(write), shifted(first), shifted(second)];
                match self.words.get_disjoint_mut(ranges) {
                    Ok([write, first, second]) => (write, [&*first, &*second]),
                    Err(_) => unreachable!("the planner laid two living buffers over each other"),
                }
            }
            [first, second] => {
                let Some(only) = first.or(second) else { unreachable!("one of them is there") };
                match self.words.get_disjoint_mut([shifted(write), shifted(only)]) {
                    Ok([write, only]) => {
                        let only: &[u64] = only;
                        let of = |slot: Option<&Slot>| if slot.is_some() { only } else { &[] };
                        (write, [of(first), of(second)])
                    }
                    Err(_) => unreachable!("the planner laid two living buffers over each other"),
                }
            }
        };
        let (out, ins) = parts;
        let view = |words, slot: Option<&Slot>| -> &[u8] {
            &bytemuck::cast_slice::<u64, u8>(words)[..slot.map_or(0, |slot| slot.bytes)]
        };
        (&mut bytemuck::cast_slice_mut(out)[..write.bytes], [view(ins[0], read[0]), view(ins[1], read[1])])
    }
}

/// Where a buffer lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) words: Range<usize>,
    pub(crate) bytes: usize,
}

/// How long a buffer is and lives: from the step that writes it to the last that reads it, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) bytes: usize,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// Lays buffers out so that no two that live at one time overlap: the largest first, each at the lowest place free.
///
/// Returns the slots and the words of the whole.
pub(crate) fn lay_out(lifetimes: &[Lifetime]) -> (Vec<Slot>, usize) {
    let size = |lifetime: &Lifetime| lifetime.bytes.div_ceil(8).next_multiple_of(LINE);
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(size(&lifetimes[*index])), *index));
    let mut starts = vec![0; lifetimes.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for index in order {
        let this = &lifetimes[index];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|other| lifetimes[**other].first <= this.last && this.first <= lifetimes[**other].last)
            .map(|other| (starts[*other], starts[*other] + size(&lifetimes[*other])))
            .collect();
        taken.sort_unstable();
        let mut start = 0;
        for (begin, end) in taken {
            if start + size(this) <= begin {
                break;
            }
            start = start.max(end);
        }
        starts[index] = start;
        total = total.max(start + size(this));
        placed.push(index);
    }
    let slots = lifetimes
        .iter()
        .zip(starts)
        .map(|(lifetime, start)| Slot {
            words: start..start + lifetime.bytes.div_ceil(8),
            bytes: lifetime.bytes,
        })
        .collect();
    (slots, total)
}

#[cfg(test)]
mod tests {
    use super::{Lifetime, Memory, lay_out};

    #[test]
    fn living_buffers_do_not_overlap_and_dead_ones_are_reused() {
        let lifetime = |bytes, first, last| Lifetime { bytes, first, last };
        let lifetimes = [
            lifetime(100, 0, 1),
            lifetime(640, 1, 2),
            lifetime(100, 2, 3),
            lifetime(1, 0, 3),
            lifetime(640, 3, 4),
        ];
        let (slots, total) = lay_out(&lifetimes);
        for (i, a) in lifetimes.iter().enumerate() {
            for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                let together = a.first <= b.last && b.first <= a.last;
                let apart =
                    slots[i].words.end <= slots[j].words.start || slots[j].words.end <= slots[i].words.start;
                assert!(!together || apart, "{i} and {j}");
            }
        }
        assert_eq!(total, (640 + 128 + 64) / 8);
    }

    #[test]
    fn memory_begins_on_a_line_and_lends_its_parts() {
        let (slots, total) = lay_out(&[
            Lifetime { bytes: 5, first: 0, last: 1 },
            Lifetime { bytes: 70, first: 1, last: 1 },
            Lifetime { bytes: 0, first: 1, last: 1 },
        ]);
        let mut memory = Memory::new(total);
        assert_eq!(memory.bytes(0..1, 1).as_ptr().addr() % 64, 0);
        memory.borrow(&slots[0], [None, None]).0.fill(7);
        let (write, [a, b]) = memory.borrow(&slots[1], [Some(&slots[0]), Some(&slots[0])]);
        write.fill(9);
        assert_eq!((a, b), (&[7u8; 5][..], &[7u8; 5][..]));
        let (_, [a, b]) = memory.borrow(&slots[2], [None, Some(&slots[1])]);
        assert_eq!((a, b), (&[][..], &[9u8; 70][..]));
    }
}
