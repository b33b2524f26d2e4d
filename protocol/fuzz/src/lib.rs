//! What the fuzz targets share.

pub mod frames;

/// Changes `bytes` as `script` says, so that inputs stay close to a genuine one and get past
/// checksums and seals only where nothing was changed.
///
/// ```text
/// step = op u8 || at u16 || n u8 || (op 0, 1) n bytes
/// op mod 4: 0 overwrite at, 1 insert at, 2 remove n at, 3 xor the byte at with n
/// ```
pub fn patch(bytes: &mut Vec<u8>, mut script: &[u8]) {
    while let Some(([op, high, low, n], rest)) = script.split_first_chunk::<4>() {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % (bytes.len() + 1);
        let n = usize::from(*n);
        script = rest;
        match op % 4 {
            2 => {
                let end = (at + n).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= n as u8;
                }
            }
            op => {
                let (new, rest) = script.split_at(n.min(script.len()));
                script = rest;
                let end = if op == 0 { (at + new.len()).min(bytes.len()) } else { at };
                bytes.splice(at..end, new.iter().copied());
            }
        }
    }
}

/// Cuts an input into pieces, each after its length as u16; the last may be shorter.
pub fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        data = rest;
        Some(piece)
    })
}
