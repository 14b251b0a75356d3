//! The layers: a tiny model for each kind, in which it stands between two layers that can certainly be quantized.

use calipers_ir::{EditError, Graph, ValueId};

use crate::builder::{Builder, Taps, VOCABULARY};
use crate::draw::Drawn;

/// A kind of layer.
pub struct Layer {
    /// Name in commands and files.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// The group that it is shown in.
    pub group: &'static str,
    /// What stands around it.
    pub sandwich: Sandwich,
    /// Adds it to the graph.
    pub build: fn(&mut Builder, Around) -> Result<ValueId, EditError>,
    /// Whether it is in the quick subset.
    pub quick: bool,
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

/// What stands around a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandwich {
    /// Input `x` `[1, 16, 12, 12]`, a 3x3 convolution to the first number of channels, the layer, and a 3x3 convolution
    /// from the second number of channels to 16.
    Image(usize, usize),
    /// The same without the first convolution: the layer takes the input.
    ImageAlone,
    /// Input `x` of this shape, whose last extent is 64, a linear layer from 64 to 64, the layer, and a linear layer from the
    /// last number to 64.
    Sequence(&'static [usize], usize),
    /// Input `ids` `[1, 32]`, the layer, and a linear layer from 64 to 64.
    Tokens,
    /// Input `ids` `[1, 32]` and the layer.
    TokensAlone,
    /// As [`Sandwich::Sequence`] of `[1, 32, 64]`, and `ids` `[1, 32]` beside it.
    SequenceAndTokens,
}

/// What a layer takes.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// The model's own input: floats, or ids where there are only those.
    pub input: ValueId,
    /// What comes out of the layer before, or the input where there is none.
    pub before: ValueId,
    /// The ids beside `input`; `input` itself where there are only ids.
    pub ids: ValueId,
}

/// The model of a probe.
#[derive(Debug, Clone)]
pub struct Probe {
    /// What it computes, in float.
    pub graph: Graph,
    /// Its weights, by PyTorch's names and in its layouts.
    pub weights: Vec<Drawn>,
    /// Its inputs, one sample each.
    pub inputs: Vec<Drawn>,
}

impl Layer {
    /// The model of its probe.
    ///
    /// # Errors
    /// None for the layers of [`LAYERS`](crate::LAYERS).
    pub fn probe(&self) -> Result<Probe, EditError> {
        let mut builder = Builder::new(self.name);
        let image = |builder: &mut Builder| builder.input("x", &[1, 16, 12, 12]);
        let (input, ids) = match self.sandwich {
            Sandwich::Image(..) | Sandwich::ImageAlone => (image(&mut builder)?, None),
            Sandwich::Sequence(shape, _) => (builder.input("x", shape)?, None),
            Sandwich::Tokens | Sandwich::TokensAlone => (builder.ids("ids", &[1, 32])?, None),
            Sandwich::SequenceAndTokens => {
                (builder.input("x", &[1, 32, 64])?, Some(builder.ids("ids", &[1, 32])?))
            }
        };
        let before = match self.sandwich {
            Sandwich::Image(channels, _) => builder.conv("before", input, Taps::image(16, channels))?,
            Sandwich::Sequence(..) | Sandwich::SequenceAndTokens => {
                builder.linear("before", input, 64, 64)?
            }
            Sandwich::ImageAlone | Sandwich::Tokens | Sandwich::TokensAlone => input,
        };
        let around = Around { input, before, ids: ids.unwrap_or(input) };
        let made = (self.build)(&mut builder, around)?;
        let output = match self.sandwich {
            Sandwich::Image(_, channels) => builder.conv("after", made, Taps::image(channels, 16))?,
            Sandwich::ImageAlone => builder.conv("after", made, Taps::image(16, 16))?,
            Sandwich::Sequence(_, width) => builder.linear("after", made, width, 64)?,
            Sandwich::Tokens | Sandwich::SequenceAndTokens => builder.linear("after", made, 64, 64)?,
            Sandwich::TokensAlone => made,
        };
        let (graph, weights, inputs) = builder.finish(output)?;
        Ok(Probe { graph, weights, inputs })
    }
}

impl Probe {
    /// Elements of each of the layer's own weights of rank 2 and more: what products multiply by and gathers read.
    pub fn own_constants(&self) -> impl Iterator<Item = usize> {
        self.weights
            .iter()
            .filter(|drawn| drawn.shape.len() >= 2)
            .filter(|drawn| !drawn.name.starts_with("before.") && !drawn.name.starts_with("after."))
            .map(Drawn::count)
    }

    /// Limit of token ids.
    pub const IDS: i64 = VOCABULARY as i64;
}
