//! Neural-network quantization, measured and done.
