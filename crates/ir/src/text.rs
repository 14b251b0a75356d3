//! The readable text form of a graph: what it prints, it parses.
//!
//! ```text
//! graph example {
//!   input %x: f32[N, 4]
//!   const %weight: f32[2, 4] = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
//!   node product %logits: f32[N, 2] = Gemm(%x, %weight, _) {transpose_b = 1}
//!   output %logits
//! }
//! ```
//!
//! Names with other characters than letters, digits and `_ . / : -` stand in double quotes. An absent optional input is
//! `_`. Constants are flat lists of numbers, `0x` and the bytes in hexadecimal where numbers would lose bits, or
//! `...` where they are left out for reading, which does not parse.

mod lexer;
mod parse;
mod print;

pub use parse::{ParseError, parse};
pub use print::{Constants, to_text, write};

#[cfg(test)]
mod tests;
