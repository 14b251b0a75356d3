//! Which instruction sets exist, which this machine has, and the proof of having one.

use std::fmt;
use std::str::FromStr;

/// An instruction set that kernels are, or can be, written for; later is wider within one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Portable code, which the compiler vectorises for the baseline of the target.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX2, FMA and the 256-bit `vpdpbusd`.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512Vnni,
    /// 64-bit Arm with Advanced SIMD.
    Neon,
    /// 64-bit Arm with the 8-bit dot product.
    NeonDot,
}

impl Isa {
    /// Every instruction set, in the order of the definition.
    pub const ALL: [Isa; 6] =
        [Isa::Scalar, Isa::Avx2, Isa::AvxVnni, Isa::Avx512Vnni, Isa::Neon, Isa::NeonDot];

    /// The best instruction set that this machine has and kernels are written for.
    pub fn detect() -> Isa {
        Supported::detect().isa()
    }

    /// The name that [`Isa::from_str`] reads: `scalar`, `avx2`, `avxvnni`, `avx512vnni`, `neon`, `neondot`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Neon => "neon",
            Isa::NeonDot => "neondot",
        }
    }

    /// The proof that kernels for this instruction set can run here, or `None`: the machine lacks it, or no kernel
    /// is written for it (`AvxVnni`, `Neon` and `NeonDot` have none).
    pub fn supported(self) -> Option<Supported> {
        let available = match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => has_avx512_vnni(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512Vnni => false,
            Isa::AvxVnni | Isa::Neon | Isa::NeonDot => false,
        };
        available.then_some(Supported(self))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that is no instruction set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa(pub String);

impl fmt::Display for UnknownIsa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` is not an instruction set; expected one of", self.0)?;
        for isa in Isa::ALL {
            write!(formatter, " {isa}")?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownIsa {}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Isa, UnknownIsa> {
        Isa::ALL
            .into_iter()
            .find(|isa| isa.name().eq_ignore_ascii_case(name.trim()))
            .ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

/// Proof that this machine runs an instruction set: it is made by detection alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Supported(Isa);

impl Supported {
    /// Portable code, which every machine runs.
    pub const SCALAR: Supported = Supported(Isa::Scalar);

    /// The best of [`Supported::all`].
    pub fn detect() -> Supported {
        [Isa::Avx512Vnni, Isa::Avx2].into_iter().find_map(Isa::supported).unwrap_or(Supported::SCALAR)
    }

    /// Everything that this machine runs and kernels are written for, `Scalar` first.
    pub fn all() -> Vec<Supported> {
        Isa::ALL.into_iter().filter_map(Isa::supported).collect()
    }

    /// The instruction set that is proven.
    pub fn isa(self) -> Isa {
        self.0
    }

    /// Runs `body` compiled for this instruction set. The closure, and what is to be vectorised in it, must be marked
    /// `#[inline(always)]`: called from three places, it would not be inlined otherwise, and be compiled for none.
    ///
    /// The compiler reorders no float operation and contracts none, so the result is the same on all of them.
    #[inline(always)]
    pub(crate) fn vectorize<R>(self, body: impl FnOnce() -> R) -> R {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `self` is made only where `has_avx2` held.
            Isa::Avx2 => unsafe { with_avx2(body) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `self` is made only where `has_avx512_vnni` held.
            Isa::Avx512Vnni => unsafe { with_avx512(body) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512Vnni => body(),
            Isa::Scalar | Isa::AvxVnni | Isa::Neon | Isa::NeonDot => body(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn with_avx512<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512_vnni() -> bool {
    has_avx2()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// How a kernel runs: the instruction set, and how many threads of the current rayon pool it may use.
///
/// With `threads == 1` no pool is touched; otherwise the caller runs the kernel inside its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The instruction set.
    pub isa: Supported,
    /// Threads to split over, at least 1.
    pub threads: usize,
}

impl Execution {
    /// One thread on the best instruction set.
    pub fn single() -> Execution {
        Execution { isa: Supported::detect(), threads: 1 }
    }

    /// Calls `body` with 0..`tasks`, in any order, split over the threads.
    pub(crate) fn for_each(self, tasks: usize, body: impl Fn(usize) + Send + Sync) {
        if self.threads <= 1 || tasks <= 1 {
            (0..tasks).for_each(body);
        } else {
            use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
            (0..tasks).into_par_iter().with_max_len(1).for_each(body);
        }
    }

    /// Splits `output` into pieces of whole `unit`s, calls `body` with the index of the first unit and the piece.
    ///
    /// `work` is a rough count of operations per unit: little work is not split.
    pub(crate) fn split<T: Send>(
        self,
        output: &mut [T],
        unit: usize,
        work: usize,
        body: impl Fn(usize, &mut [T]) + Send + Sync,
    ) {
        const WORTH_A_THREAD: usize = 32 * 1024;
        if output.is_empty() {
            return;
        }
        let units = output.len() / unit;
        let pieces = self.threads.min(units * work.max(1) / WORTH_A_THREAD).max(1);
        if pieces == 1 {
            body(0, output);
            return;
        }
        use rayon::iter::{IndexedParallelIterator, ParallelIterator};
        use rayon::slice::ParallelSliceMut;
        let per_piece = units.div_ceil(pieces);
        output
            .par_chunks_mut(per_piece * unit)
            .enumerate()
            .for_each(|(index, piece)| body(index * per_piece, piece));
    }
}

#[cfg(test)]
mod tests {
    use super::{Isa, Supported};

    #[test]
    fn names_are_read_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse::<Isa>(), Ok(isa));
        }
        assert!("sse9".parse::<Isa>().unwrap_err().to_string().contains("avx512vnni"));
    }

    #[test]
    fn the_best_is_the_last_of_all() {
        assert_eq!(Supported::all().last().copied(), Some(Supported::detect()));
        assert_eq!(Supported::all()[0], Supported::SCALAR);
    }
}
