//! The mask of a client's payload (RFC 6455 section 5.3): XOR with a key of four bytes, in wide steps.

/// Masks or unmasks a piece of a payload in place; `position` is where in the payload it begins.
pub fn apply(piece: &mut [u8], key: [u8; 4], position: usize) {
    let mut key = key;
    key.rotate_left(position % 4);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = piece.chunks_exact_mut(8);
    for word in &mut words {
        // The chunk is eight bytes; going through an array keeps the loop free of bounds checks.
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}
