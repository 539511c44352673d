//! Takes parts of known lengths out of bytes that arrive in pieces, and drops what lies between them.

/// The part of a byte stream that is being read.
#[derive(Debug, Default)]
pub(crate) struct PartReader {
    /// What has arrived of the part.
    bytes: Vec<u8>,
    /// Bytes before the part that are still to come.
    skip: usize,
}

impl PartReader {
    /// Takes bytes off the front of `input` until the part has `length`. Returns false when more input is needed.
    pub(crate) fn fill(&mut self, input: &mut &[u8], length: usize) -> bool {
        let skipped = self.skip.min(input.len());
        self.skip -= skipped;
        let (_, rest) = input.split_at(skipped);
        let missing = length.saturating_sub(self.bytes.len());
        let (bytes, rest) = rest.split_at(missing.min(rest.len()));
        self.bytes.extend_from_slice(bytes);
        *input = rest;
        self.skip == 0 && self.bytes.len() >= length
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins the next part, so many bytes after this one.
    pub(crate) fn next(&mut self, skip: usize) {
        self.bytes.clear();
        self.skip = skip;
    }
}
