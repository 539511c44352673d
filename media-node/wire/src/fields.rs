//! Fields of a fixed size at the front of bytes that are parsed in place.

/// Takes `N` bytes off the front of `rest`. Returns `None`, and leaves `rest` as it is, when there are fewer.
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}
