//! Elements of 2 and 4 bits in bytes, lowest bits first.

/// The first `count` codes of `bits` bits.
pub(crate) fn unpack(bytes: &[u8], bits: usize, count: usize) -> Vec<u8> {
    let mask = (1u8 << bits) - 1;
    let codes = bytes.iter().flat_map(|&byte| (0..8 / bits).map(move |place| byte >> (place * bits) & mask));
    codes.take(count).collect()
}

/// Codes of which the lowest `bits` bits are kept.
pub(crate) fn pack(codes: &[u8], bits: usize) -> Vec<u8> {
    let mask = (1u8 << bits) - 1;
    let whole = |group: &[u8]| {
        group.iter().enumerate().fold(0u8, |byte, (place, &code)| byte | (code & mask) << (place * bits))
    };
    codes.chunks(8 / bits).map(whole).collect()
}
